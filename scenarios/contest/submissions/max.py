words = []
while True:
    try:
        words += input().split()
    except EOFError:
        break
print(max(words, key=len, default=""))
