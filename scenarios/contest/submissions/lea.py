import re
from sys import stdin

print(max(re.findall(r"[a-z]+", stdin.read()), key=len, default=""))
