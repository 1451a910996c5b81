/* A process in secure-execution mode, as options_probe sees it: getauxval(AT_SECURE) says so. Real
 * set-user-ID programs need a file of another owner, which a test cannot make without privileges.
 */
#include <elf.h>
#include <sys/auxv.h>

unsigned long __real_getauxval(unsigned long type);
unsigned long __wrap_getauxval(unsigned long type);

unsigned long __wrap_getauxval(unsigned long type)
{
    return type == AT_SECURE ? 1 : __real_getauxval(type);
}
