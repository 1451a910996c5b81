# Prints a C program of <count> functions with struct tables; every tenth has a loop and a
# switch. The program prints one checksum when run.
use strict;
use warnings;

my $count = $ARGV[0];
my $state = 1;
sub next_number { $state = ($state * 1103515245 + 12345) & 0x7fffffff; return ($state >> 8) % shift }

print "#include <stdio.h>\n#include <stdint.h>\n";
print "struct row { int id; const char *name; double weight; uint64_t mask[2]; };\n";
for my $f (0 .. $count - 1) {
    my $rows = 2 + next_number(6);
    print "static const struct row table_$f\[] = {\n";
    printf "  { %d, \"row %d of %d\", %d.%d, { %uu, %uu } },\n", next_number(1000), $_, $f,
        next_number(100), next_number(10), next_number(1 << 20), next_number(1 << 20)
        for 1 .. $rows;
    print "};\n";
    print "uint64_t f$f(uint64_t a, unsigned depth)\n{\n";
    print "  uint64_t sum = a ^ ", next_number(1 << 20), "u;\n";
    print "  const struct row *r = &table_$f\[sum % $rows];\n";
    if ($f % 10 == 0) {
        print "  for (unsigned i = 0; i < $rows; i++) {\n    switch ((sum + i) % 4) {\n";
        print "    case $_: sum = sum * ", 3 + next_number(1000), "u + r->mask[", $_ % 2,
            "] + (unsigned)r->id", ($_ ? '' : ' + (uint64_t)(r->weight * 4)'), "; break;\n"
            for 0 .. 2;
        print "    default: sum ^= (unsigned char)r->name[i]; break;\n    }\n  }\n";
    } else {
        print "  sum += r->mask[", $f % 2, "] ^ (unsigned char)r->name[", $f % 5, "];\n";
    }
    print '  if (depth && (sum & 1))', "\n    sum += f", next_number($f), "(sum >> 3, depth - 1);\n"
        if $f;
    print "  return sum;\n}\n";
}
print "static uint64_t (*const all[])(uint64_t, unsigned) = {\n";
print "  f$_,\n" for 0 .. $count - 1;
print "};\nint main(void)\n{\n  uint64_t sum = 0;\n";
print "  for (unsigned i = 0; i < $count; i++)\n    sum = sum * 31 + all[i](i, 5);\n";
print "  printf(\"%llu\\n\", (unsigned long long)sum);\n  return 0;\n}\n";
