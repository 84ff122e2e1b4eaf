from sys import stdin

words = stdin.read().split()
print(max(words, key=len) if words else "")
