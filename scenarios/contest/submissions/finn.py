from sys import stdin

print((sorted(stdin.read().split(), key=lambda word: -len(word)) or [""])[0])
