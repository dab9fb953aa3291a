# SPDX-License-Identifier: Apache-2.0
"""Reads a BPF object file: its functions with their instructions, and its maps."""

import json
import struct
import subprocess

LD_IMM64 = 0x18


class Instruction:
    """One instruction, as linux/bpf.h names its parts."""

    def __init__(self, raw):
        self.code, registers, self.offset, self.imm = struct.unpack("<BBhi", raw)
        self.dst, self.src = registers & 15, registers >> 4


class Function:
    """A function; a program is one that has a section of its own."""

    def __init__(self, name, section, instructions):
        self.name, self.section, self.instructions = name, section, instructions


class Object:
    """functions: of all sections."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        self.path = path
        self.sections = self.read_sections()
        self.symbols = self.read_symbols()
        self.functions = list(self.read_functions())

    def read_sections(self):
        offset, = struct.unpack_from("<Q", self.data, 0x28)
        size, number, names = struct.unpack_from("<HHH", self.data, 0x3a)
        heads = [struct.unpack_from("<IIQQQQIIQQ", self.data, offset + i * size)
                 for i in range(number)]
        strings = heads[names]
        return [{"name": self.text(strings[4] + h[0]), "type": h[1], "offset": h[4],
                 "size": h[5], "link": h[6], "info": h[7]} for h in heads]

    def text(self, offset):
        return self.data[offset:self.data.index(b"\0", offset)].decode()

    def read_symbols(self):
        table = next(s for s in self.sections if s["type"] == 2)
        strings = self.sections[table["link"]]["offset"]
        symbols = []
        for at in range(table["offset"], table["offset"] + table["size"], 24):
            name, info, _, section, value, size = struct.unpack_from("<IBBHQQ", self.data, at)
            symbols.append({"name": self.text(strings + name), "type": info & 15,
                            "section": section, "value": value, "size": size})
        return symbols

    def read_functions(self):
        for symbol in self.symbols:
            if symbol["type"] != 2:
                continue
            section = self.sections[symbol["section"]]
            instructions, at = [], symbol["value"]
            while at < symbol["value"] + symbol["size"]:
                raw = self.data[section["offset"] + at:section["offset"] + at + 8]
                instructions.append(Instruction(raw))
                at += 16 if raw[0] == LD_IMM64 else 8
            yield Function(symbol["name"], section["name"], instructions)

    def maps(self, bpftool="bpftool"):
        """{name: {"type": n, "map_flags": n, ...}} as the BTF of .maps says."""
        listing = subprocess.run([bpftool, "-j", "btf", "dump", "file", self.path], check=True,
                                 capture_output=True, text=True).stdout
        types = {t["id"]: t for t in json.loads(listing)["types"]}
        section = next((t for t in types.values()
                        if t["kind"] == "DATASEC" and t["name"] == ".maps"), {"vars": []})
        maps = {}
        for entry in section["vars"]:
            variable = types[entry["type_id"]]
            maps[variable["name"]] = {
                m["name"]: types[types[m["type_id"]]["type_id"]]["nr_elems"]
                for m in types[variable["type_id"]]["members"]
                if types[types[m["type_id"]]["type_id"]]["kind"] == "ARRAY"}
        return maps
