from sys import stdin

by_length = {}
for word in stdin.read().split():
    by_length.setdefault(len(word), word)
print(by_length[max(by_length)] if by_length else "")
