/* See crew.h. */
#include "memory/crew.h"

#include "common/own.h"
#include "memory/fail.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MINCORE_PAGES 256u /* asked for at once */

struct crew_member {
    struct crew *crew;
    pthread_t thread;
    unsigned index;
};

static void *member_main(void *argument)
{
    struct crew_member *member = argument;
    member->crew->body(member->crew->context, member->index);
    return NULL;
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void start_member(struct crew *crew, unsigned index)
{
    struct crew_member *member = &crew->members[index];
    *member = (struct crew_member){.crew = crew, .index = index};
    char *guard = crew->stacks + index * crew->stack_bytes;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    int error = mprotect(guard, page_bytes(), PROT_NONE) == 0 ? 0 : errno;
    if (error == 0)
        error = pthread_attr_setstack(&attributes, guard + page_bytes(),
                                      crew->stack_bytes - page_bytes());
    if (error == 0)
        error = pthread_create(&member->thread, &attributes, member_main, member);
    pthread_attr_destroy(&attributes);
    if (error != 0)
        fail("thread %u of %u: %s", index, crew->threads, strerror(error));
}

void crew_start(struct crew *crew, unsigned threads, size_t stack_bytes, crew_body *body,
                void *context)
{
    *crew = (struct crew){.body = body,
                          .context = context,
                          .members = own_map(threads * sizeof *crew->members),
                          .stacks = own_map(threads * (stack_bytes + page_bytes())),
                          .stack_bytes = stack_bytes + page_bytes(),
                          .threads = threads};
    for (unsigned i = 0; i < threads; i++)
        start_member(crew, i);
}

void crew_join(struct crew *crew)
{
    for (unsigned i = 0; i < crew->threads; i++)
        pthread_join(crew->members[i].thread, NULL);
    own_unmap(crew->members, crew->threads * sizeof *crew->members);
    own_unmap(crew->stacks, crew->threads * crew->stack_bytes);
}

uint64_t crew_stack_bytes(const struct crew *crew)
{
    unsigned char resident[MINCORE_PAGES];
    uint64_t page = page_bytes();
    uint64_t pages = crew->threads * crew->stack_bytes / page;
    uint64_t found = 0;
    for (uint64_t first = 0; first < pages; first += MINCORE_PAGES) {
        uint64_t some = pages - first < MINCORE_PAGES ? pages - first : MINCORE_PAGES;
        if (mincore(crew->stacks + first * page, some * page, resident) != 0)
            fail("mincore of the stacks: %s", strerror(errno));
        for (uint64_t i = 0; i < some; i++)
            found += resident[i] & 1;
    }
    return found * page;
}

void crew_sleep(double seconds)
{
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}
