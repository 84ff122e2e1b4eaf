import sys

words = [word for line in sys.stdin for word in line.split()]
print(max(words, key=len, default=""))
