from sys import stdin

by_length = {len(word): word for word in stdin.read().split()}
print(by_length[max(by_length)] if by_length else "")
