# Prints <size> bytes of text that compresses a little.
use strict;
use warnings;

my $state = 3;
my $text  = '';
while (length($text) < $ARGV[0]) {
    $state = ($state * 1103515245 + 12345) & 0x7fffffff;
    $text .= 'word' . (($state >> 8) % 5000) . ' ';
}
print substr($text, 0, $ARGV[0]);
