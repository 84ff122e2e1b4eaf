import sys

for line in sys.stdin:
    print(max(line.split(), key=len, default=""))
