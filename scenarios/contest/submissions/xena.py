from heapq import nlargest
from sys import stdin

print(*nlargest(1, stdin.read().split(), key=len))
