"""Serves the most urgent job first, and equal ones in their order."""

import sys


def order(jobs):
    return sorted(jobs, key=lambda job: job[0], reverse=True)


if __name__ == "__main__":
    jobs = [job.split(":") for job in sys.argv[1].split()]
    print(" ".join(name for _, name in order(jobs)))
