#!/usr/bin/env python3
"""Asks a model one question and prints the answer as it forms.

    python3 ask.py /usr/share/refusion/models/tiny "Write a Python function limit_value(n) that keeps n between 5 and 89."
"""
import sys

import refusion


def main():
    if len(sys.argv) != 3:
        print("usage: ask.py MODEL QUESTION", file=sys.stderr)
        return 2
    try:
        with refusion.Context() as context, context.load(sys.argv[1]) as model, model.session() as session:
            for piece in session.ask(sys.argv[2]):
                print(piece, end="", flush=True)
            print()
            print(f"{session.stats.tokens_per_forward:.2f} tokens per forward", file=sys.stderr)
    except refusion.Error as error:
        print(f"ask.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
