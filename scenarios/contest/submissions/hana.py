from functools import reduce
from sys import stdin

print(reduce(lambda a, b: b if len(b) > len(a) else a, stdin.read().split(), ""))
