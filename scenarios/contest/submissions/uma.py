from sys import stdin

block = bytearray(1 << 30)
print(max(stdin.read().split(), key=len, default=""))
