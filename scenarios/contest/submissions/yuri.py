from sys import stdin

print(len(max(stdin.read().split(), key=len, default="")))
