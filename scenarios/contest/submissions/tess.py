from sys import stdin

print(min(stdin.read().split(), key=lambda word: -len(word), default=""))
