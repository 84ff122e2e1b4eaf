import re
from sys import stdin

print(max(re.findall(r"\S+", stdin.read()), key=len, default=""))
