/* The cold half of the harness; see harness.h. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define TEXT_BYTES 512u /* the longest line written */

static void write_all(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t written = write(fd, text, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        text += written;
        bytes -= (size_t)written;
    }
}

/* One write, so that lines of several processes do not mix. */
static void write_line(int fd, const char *head, const char *format, va_list arguments)
{
    char text[TEXT_BYTES];
    size_t used = (size_t)snprintf(text, sizeof text / 2, "%s", head);
    used += (size_t)vsnprintf(text + used, sizeof text - used - 1, format, arguments);
    if (used > sizeof text - 2)
        used = sizeof text - 2;
    text[used++] = '\n';
    write_all(fd, text, used);
}

static void complain(const char *format, va_list arguments)
{
    char head[TEXT_BYTES / 4];
    snprintf(head, sizeof head, "%s: ", program_invocation_short_name);
    write_line(STDERR_FILENO, head, format, arguments);
}

void bench_fail(const char *format, ...)
{
    static atomic_flag failed = ATOMIC_FLAG_INIT;
    /* One line for the first thread that finds something; the others wait for the end. */
    while (atomic_flag_test_and_set(&failed))
        pause();
    va_list arguments;
    va_start(arguments, format);
    complain(format, arguments);
    va_end(arguments);
    _exit(1);
}

void bench_refuse(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    complain(format, arguments);
    va_end(arguments);
    _exit(2);
}

static bool parse_choice(const char *text, const struct bench_option *option)
{
    for (unsigned long i = 0; option->choices[i] != NULL; i++) {
        if (strcmp(text, option->choices[i]) == 0) {
            *option->value = i;
            return true;
        }
    }
    return false;
}

static bool parse_value(const char *text, const struct bench_option *option)
{
    if (option->text != NULL) {
        *option->text = text;
        return true;
    }
    if (option->choices != NULL)
        return parse_choice(text, option);
    if (*text < '0' || *text > '9')
        return false;
    char *end = NULL;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || number < option->min || number > option->max)
        return false;
    *option->value = number;
    return true;
}

static void print_option(const struct bench_option *option)
{
    printf("  --%-18s %s", option->name, option->help);
    if (option->text != NULL) {
        printf("; default %s", *option->text == NULL ? "none" : *option->text);
    } else if (option->choices != NULL) {
        for (size_t i = 0; option->choices[i] != NULL; i++)
            printf("%s%s", i == 0 ? ": " : ", ", option->choices[i]);
        printf("; default %s", option->choices[*option->value]);
    } else {
        printf("; %lu to %lu, default %lu", option->min, option->max, *option->value);
    }
    printf("\n");
}

static const struct bench_option *find_option(const char *argument, size_t length,
                                              const struct bench_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(options[i].name) == length && memcmp(options[i].name, argument, length) == 0)
            return &options[i];
    }
    return NULL;
}

void bench_options(int argc, char **argv, const char *about, const struct bench_option *options,
                   size_t count)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            printf("usage: %s [--option VALUE ...]\n%s\n", program_invocation_short_name, about);
            for (size_t option = 0; option < count; option++)
                print_option(&options[option]);
            exit(0);
        }
        const struct bench_option *option = NULL;
        const char *equals = strchr(argv[i], '=');
        const char *name = argv[i] + 2;
        if (strncmp(argv[i], "--", 2) == 0)
            option = find_option(name, equals != NULL ? (size_t)(equals - name) : strlen(name),
                                 options, count);
        if (option == NULL)
            bench_refuse("no option %s; see --help", argv[i]);
        const char *value = equals != NULL ? equals + 1 : argv[++i];
        if (value == NULL || !parse_value(value, option))
            bench_refuse("--%s does not take %s; see --help", option->name,
                         value == NULL ? "nothing" : value);
    }
}

void *bench_map(size_t count, size_t bytes_each)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, bytes_each, &bytes))
        bench_refuse("no memory for the bookkeeping");
    /* One byte more than asked for: a mapping of no bytes is refused. */
    void *start = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (start == MAP_FAILED)
        bench_refuse("no memory for %zu bytes of bookkeeping", bytes);
    return start;
}

void bench_unmap(void *start, size_t count, size_t bytes_each)
{
    munmap(start, count * bytes_each + 1);
}

uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

size_t bench_rss_bytes(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (got <= 0)
        bench_fail("cannot read /proc/self/statm");
    text[got] = '\0';
    char *end = text;
    strtoul(text, &end, 10); /* the size; the resident pages follow */
    return strtoul(end, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* One place of the crew, held by one thread after the other. Handed on by pthread_create; main
 * reads it after the semaphore. */
struct place {
    struct crew *crew;
    pthread_t predecessor; /* valid from generation 1 on */
    pthread_t last;        /* the thread of the last generation */
    unsigned thread;       /* number of the place */
    unsigned generation;   /* of the thread that holds it */
    uint64_t start_ns;     /* when the first body began */
    uint64_t end_ns;       /* when the last body was done */
};

struct crew {
    bench_body *body;
    void *context;
    unsigned generations;
    pthread_barrier_t start;
    sem_t ended; /* posted once per place */
};

static void *place_main(void *argument)
{
    struct place *place = argument;
    struct crew *crew = place->crew;
    unsigned generation = place->generation;
    if (generation == 0) {
        pthread_barrier_wait(&crew->start);
        place->start_ns = bench_now_ns();
    }
    crew->body(crew->context, place->thread, generation);
    if (generation + 1 == crew->generations)
        place->end_ns = bench_now_ns();
    if (generation > 0)
        pthread_join(place->predecessor, NULL);
    if (generation + 1 == crew->generations) {
        place->last = pthread_self();
        sem_post(&crew->ended);
        return NULL;
    }
    place->predecessor = pthread_self();
    place->generation = generation + 1;
    pthread_t successor;
    if (pthread_create(&successor, NULL, place_main, place) != 0)
        bench_fail("no thread");
    return NULL;
}

double bench_run(unsigned threads, unsigned generations, bench_body *body, void *context)
{
    struct crew crew = {.body = body, .context = context, .generations = generations};
    struct place *places = bench_map(threads, sizeof *places);
    pthread_barrier_init(&crew.start, NULL, threads);
    sem_init(&crew.ended, 0, 0);
    for (unsigned i = 0; i < threads; i++) {
        places[i] = (struct place){.crew = &crew, .thread = i};
        pthread_t thread;
        if (pthread_create(&thread, NULL, place_main, &places[i]) != 0)
            bench_fail("no thread");
    }
    for (unsigned i = 0; i < threads; i++) {
        while (sem_wait(&crew.ended) != 0)
            continue;
    }
    uint64_t start_ns = UINT64_MAX;
    uint64_t end_ns = 0;
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(places[i].last, NULL);
        if (places[i].start_ns < start_ns)
            start_ns = places[i].start_ns;
        if (places[i].end_ns > end_ns)
            end_ns = places[i].end_ns;
    }
    sem_destroy(&crew.ended);
    pthread_barrier_destroy(&crew.start);
    bench_unmap(places, threads, sizeof *places);
    /* Never 0, so that a rate of it is a number. */
    return (double)(end_ns - start_ns + 1) / 1e9;
}

static void print_line(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_line(STDOUT_FILENO, "metric ", format, arguments);
    va_end(arguments);
}

void bench_metric(const char *group, const char *name, double value, const char *unit)
{
    print_line(value >= 1000 ? "%s/%s %.0f %s" : "%s/%s %.4f %s", group, name, value, unit);
}

void bench_settle(const struct bench_tally *tallies, size_t count, uint64_t expected)
{
    struct bench_tally all = {.made = 0};
    for (size_t i = 0; i < count; i++) {
        all.made += tallies[i].made;
        all.made_tags += tallies[i].made_tags;
        all.ended += tallies[i].ended;
        all.ended_tags += tallies[i].ended_tags;
    }
    if (all.made != expected || all.ended != expected || all.made_tags != all.ended_tags)
        bench_fail("%llu blocks allocated and %llu freed, %llu expected",
                   (unsigned long long)all.made, (unsigned long long)all.ended,
                   (unsigned long long)expected);
}
