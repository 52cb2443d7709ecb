"""Names and things. Few and short, so that a vocabulary of 1,000 tokens has most of them as one."""

# Each with a first letter of its own: sort_names has an order that hangs on the first letter alone.
NAMES = ("Ana Ben Carl Dina Emil Fay Gus Hana Ivan June Kim Leo Mia Noah Olga Paul Rosa Sam Tara Uma Vera Will Yara "
         "Zoe").split()
THINGS = "apples pens books coins cards shells stamps eggs cups balls keys plums nuts beads stones flags toys rings".split()
BOXES = "bags boxes packs jars".split()
CITIES = "Oslo Rome Paris Lima Cairo Delhi Quito Tokyo Berlin Madrid Dublin Vienna".split()
COLOURS = "red blue green black white yellow brown grey".split()
JOBS = "cook pilot nurse teacher driver baker painter farmer".split()
MONTHS = "January February March April May June July August September October November December".split()

# Names in programs.
LISTS = "numbers values scores prices points ages data items".split()
TEXTS = "text word line name".split()
