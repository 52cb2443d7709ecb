"""A picture of Xvfb's screen (its -fbdir file, in XWD's format) as PNG."""

import struct
import zlib


def read_screen(path, rows=None):
    """(width, height, rows of RGB bytes); `rows` (first, end): these alone."""
    with open(path, "rb") as file:
        data = file.read()
    # X11/XWDFile.h: 25 big-endian words, then a name up to header_size, then the colour map.
    words = struct.unpack(">25I", data[:100])
    header_size, width, height = words[0], words[4], words[5]
    bits_per_pixel, bytes_per_line, colours = words[11], words[12], words[19]
    byte_order = words[7]
    assert bits_per_pixel == 32, f"{path}: {bits_per_pixel} bits per pixel, wanted 32"
    start = header_size + 12 * colours
    blue, green, red = (0, 1, 2) if byte_order == 0 else (3, 2, 1)
    first, end = rows or (0, height)
    pixels = []
    for y in range(first, end):
        line = data[start + y * bytes_per_line:start + y * bytes_per_line + 4 * width]
        row = bytearray(3 * width)
        row[0::3], row[1::3], row[2::3] = line[red::4], line[green::4], line[blue::4]
        pixels.append(bytes(row))
    return width, end - first, pixels


def write_png(path, width, height, rows):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pixels = b"".join(b"\0" + row for row in rows)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)) +
                   chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b""))
