"""The same as ask.c through examples/refusion.py (PYTHONPATH says where): the answer's token ids on stdout.

    ask_ctypes.py MODEL QUESTION TEMPERATURE SEED
"""
import sys

import refusion

folder, question, temperature, seed = sys.argv[1:]
with refusion.Context() as context, context.load(folder, no_tune=True) as model:
    session = model.session(temperature=float(temperature), seed=int(seed))
    answer = "".join(session.ask(question))
    assert answer == session.text, "the pieces are not the answer"
    print(",".join(map(str, session.tokens)))
