"""Two processes load memcached on 127.0.0.1:PORT for about SECONDS: sets and gets in batches that
are made before the clock starts. Prints metric lines. A wrong answer ends it with one line on
stderr."""
import multiprocessing
import socket
import sys
import time

PROCESSES = 2
KEYS = 8000  # a process
BATCH = 100
SIZES = (40, 90, 330, 1200, 4000)
ROUNDS_PER_SECOND = 12
ROUNDS_PER_CONNECTION = 2

PORT, SECONDS = int(sys.argv[1]), int(sys.argv[2])


def value_of(key, version):
    return (b"%s.%d." % (key, version)) * 400


def sized(key, version, number):
    return value_of(key, version)[: SIZES[(number + version) % len(SIZES)]]


def batches(process, version):
    """(request, answer) of every set, and of every get, of one round."""
    sets, gets = [], []
    for start in range(0, KEYS, BATCH):
        request, found = [], []
        keys = [(b"key-%d-%d" % (process, n), n) for n in range(start, start + BATCH)]
        for key, number in keys:
            value = sized(key, version, number)
            request.append(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
            found.append(b"VALUE %s 0 %d\r\n%s\r\n" % (key, len(value), value))
        sets.append((b"".join(request), b"STORED\r\n" * BATCH))
        names = b" ".join(key for key, _ in keys)
        gets.append((b"get %s\r\n" % names, b"".join(found) + b"END\r\n"))
    return sets, gets


def exchange(connection, work):
    buffer = bytearray(1 << 20)
    for request, answer in work:
        connection.sendall(request)
        got = 0
        while got < len(answer):
            read = connection.recv_into(memoryview(buffer)[got:])
            if read == 0:
                raise ValueError("the server closed the connection")
            got += read
        if buffer[:got] != answer:
            raise ValueError("a wrong answer to %r..." % bytes(request[:40]))


def work(process, barrier, results):
    try:
        rounds = [batches(process, version) for version in range(len(SIZES))]
        set_s = get_s = 0.0
        connection = None
        barrier.wait()
        for number in range(ROUNDS_PER_SECOND * SECONDS):
            if number % ROUNDS_PER_CONNECTION == 0:
                if connection:
                    connection.close()
                connection = socket.create_connection(("127.0.0.1", PORT), timeout=60)
            sets, gets = rounds[number % len(rounds)]
            start = time.monotonic()
            exchange(connection, sets)
            middle = time.monotonic()
            exchange(connection, gets)
            set_s += middle - start
            get_s += time.monotonic() - middle
        results.put((None, set_s, get_s))
    except (OSError, ValueError) as error:
        results.put(("%s: %s" % (type(error).__name__, error), 0, 0))


if __name__ == "__main__":
    barrier, results = multiprocessing.Barrier(PROCESSES), multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=work, args=(p, barrier, results)) for p in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    ended = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    for error, _, _ in ended:
        if error:
            sys.exit(error)
    count = PROCESSES * KEYS * ROUNDS_PER_SECOND * SECONDS
    print("metric memcached/set %.1f ops/s" % (count / max(s for _, s, _ in ended)))
    print("metric memcached/get %.1f ops/s" % (count / max(s for _, _, s in ended)))
