# Prints commands in the redis protocol: keys of every type, grown, cut and deleted, the same ones
# each time. None depends on time or chance.
use strict;
use warnings;

my $state = 7;
sub next_number { $state = ($state * 1103515245 + 12345) & 0x7fffffff; return ($state >> 8) % shift }
sub command { print '*', scalar(@_), "\r\n", map { '$' . length($_) . "\r\n$_\r\n" } @_ }

for my $i (0 .. 59_999) {
    command('SET', "str:$i", chr(97 + $i % 26) x (1 + next_number($i % 100 ? 300 : 40_000)));
}
for my $i (0 .. 119_999) {
    my $n = next_number(2000);
    my $kind = $i % 6;
    if    ($kind == 0) { command('HSET', 'hash:' . $n % 400, "field$n", 'v' x next_number(120)) }
    elsif ($kind == 1) { command('ZADD', 'rank:' . $n % 50, next_number(100_000), "member$i") }
    elsif ($kind == 2) { command('SADD', 'set:' . $n % 60, 'm' . next_number(50_000)) }
    elsif ($kind == 3) { command('RPUSH', 'zlist:' . $n % 80, "item$i" x (1 + $n % 9)) }
    elsif ($kind == 4) { command('APPEND', "str:$n", "+$i" x (1 + $n % 40)) }
    else               { command('SETRANGE', "str:$n", next_number(5000), "at$i") }
}
for my $i (0 .. 59_999) {
    command($i % 2 ? 'UNLINK' : 'DEL', "str:$i") if $i % 3 == 0;
}
command('LTRIM', "zlist:$_", 0, 100 + $_) for 0 .. 79;
command('DEL', 'hash:' . $_ * 3) for 0 .. 100;
command('SUNIONSTORE', 'set:all', map { "set:$_" } 0 .. 59);
command('ZUNIONSTORE', 'rank:all', 50, map { "rank:$_" } 0 .. 49);
command('EVAL', 'local t = {} for i = 1, 20000 do t[i] = tostring(i) .. ARGV[1] end '
    . 'redis.call("SET", KEYS[1], table.concat(t, ","))', 1, 'script', 'x');
