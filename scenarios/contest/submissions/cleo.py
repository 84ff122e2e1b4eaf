from sys import stdin

longest = ""
for word in stdin.read().split():
    if len(word) > len(longest):
        longest = word
print(longest)
