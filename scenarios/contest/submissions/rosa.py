from sys import stdin

words = stdin.read().split()
lengths = [len(word) for word in words]
print(words[lengths.index(max(lengths))] if words else "")
