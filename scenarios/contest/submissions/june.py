from sys import stdin

print(max(stdin.read().split(), default=""))
