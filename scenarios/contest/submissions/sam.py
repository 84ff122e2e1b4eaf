from sys import stdin

words = stdin.read().split()
print(words[0] if words else "")
