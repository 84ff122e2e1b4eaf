from sys import stdin

print(sorted(stdin.read().split(), key=len)[-1])
