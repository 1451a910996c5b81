"""Four processes of four connections each store, change, read and delete values in memcached on
127.0.0.1:<port>; each value follows from its key. Prints the server's counts. A wrong answer ends
it with one line on stderr."""
import hashlib
import multiprocessing
import socket
import sys

PROCESSES = 4
CONNECTIONS = 4
KEYS = 1500  # a connection
ROUNDS = 5
BATCH = 50

PORT = int(sys.argv[1])


class WrongAnswer(Exception):
    pass


def value_of(key, version):
    seed = hashlib.md5(b"%s/%d" % (key, version)).digest()
    number = int.from_bytes(seed[:4], "little")
    if number % 500 == 0:
        size = 100_000 + number % 900_000  # beyond one slab page's chunk
    else:
        size = 1 + number % (200 if number % 3 else 9000)
    return (seed * (size // len(seed) + 1))[:size]


class Connection:
    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=60)
        self.file = self.socket.makefile("rb", buffering=1 << 16)

    def send(self, data):
        self.socket.sendall(data)

    def expect(self, answer, about):
        line = self.file.readline()
        if line != answer + b"\r\n":
            raise WrongAnswer("%r for %r instead of %r" % (line, about, answer))

    def get(self, keys):
        self.send(b"get " + b" ".join(keys) + b"\r\n")
        found = {}
        while True:
            line = self.file.readline()
            if line == b"END\r\n":
                return found
            word, key, _, size = line.split()
            if word != b"VALUE":
                raise WrongAnswer("%r for get" % line)
            found[key] = self.file.read(int(size))
            if self.file.read(2) != b"\r\n":
                raise WrongAnswer("value of %r is not ended" % key)


def batches(keys):
    for start in range(0, len(keys), BATCH):
        yield keys[start : start + BATCH]


def store(connection, keys, version):
    for some in batches(keys):
        request = []
        for key in some:
            value = value_of(key, version)
            request.append(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
        connection.send(b"".join(request))
        for key in some:
            connection.expect(b"STORED", key)


def append(connection, keys):
    for some in batches(keys):
        connection.send(b"".join(b"append %s 0 0 4\r\ntail\r\n" % key for key in some))
        for key in some:
            connection.expect(b"STORED", key)


def delete(connection, keys):
    for some in batches(keys):
        connection.send(b"".join(b"delete %s\r\n" % key for key in some))
        for key in some:
            connection.expect(b"DELETED", key)


def verify(connection, keys, expected):
    for some in batches(keys):
        found = connection.get(some)
        for key in some:
            if found.get(key) != expected(key):
                got = found.get(key)
                what = "nothing" if got is None else "%d other bytes" % len(got)
                raise WrongAnswer("value of %r is %s" % (key, what))
        if len(found) != sum(expected(key) is not None for key in some):
            raise WrongAnswer("keys nobody asked for")


def work(process):
    try:
        connections = [Connection() for _ in range(CONNECTIONS)]
        keys = [
            [b"key-%d-%d-%d" % (process, c, k) for k in range(KEYS)] for c in range(CONNECTIONS)
        ]
        for version in range(ROUNDS):
            for c, connection in enumerate(connections):
                store(connection, keys[c], version)
            for c in range(CONNECTIONS):
                # Another connection, and so mostly another thread of the server, reads.
                reader = connections[(c + 1) % CONNECTIONS]
                verify(reader, keys[c], lambda key: value_of(key, version))
            for c, connection in enumerate(connections):
                append(connection, keys[c][::7])
                delete(connection, keys[c][3::7])
            appended = {key for c in range(CONNECTIONS) for key in keys[c][::7]}
            deleted = {key for c in range(CONNECTIONS) for key in keys[c][3::7]}

            def expected(key):
                if key in deleted:
                    return None
                return value_of(key, version) + (b"tail" if key in appended else b"")

            for c in range(CONNECTIONS):
                verify(connections[(c + 2) % CONNECTIONS], keys[c], expected)
            # Connections that come and go.
            for _ in range(25):
                some = [Connection() for _ in range(4)]
                verify(some[0], keys[0][:BATCH], expected)
                for connection in some:
                    connection.socket.close()
                    connection.file.close()
    except (WrongAnswer, OSError, ValueError) as error:
        return "%s: %s" % (type(error).__name__, error)
    return None


if __name__ == "__main__":
    with multiprocessing.Pool(PROCESSES) as pool:
        for error in pool.map(work, range(PROCESSES), chunksize=1):
            if error:
                sys.exit(error)
    connection = Connection()
    connection.send(b"stats\r\n")
    counts = {}
    for line in iter(connection.file.readline, b"END\r\n"):
        _, name, value = line.decode().split(" ", 2)
        counts[name] = value.strip()
    for name in (
        "threads", "curr_items", "total_items", "bytes", "cmd_get", "cmd_set", "get_hits",
        "get_misses", "delete_hits", "delete_misses", "evictions", "total_connections",
    ):
        print(name, counts[name])
