# Writes the files of one commit into the current directory: 3000 texts, of which each later step
# changes a part, renames a few and drops a few.
use strict;
use warnings;

my $step = $ARGV[0];
for my $i (0 .. 2999) {
    my $name = sprintf 'd%d/f%d.txt', $i % 30, $i;
    my $moved = sprintf 'moved/f%d.txt', $i;
    mkdir 'd' . $i % 30;
    if ($step > 1) {
        next if ($i * 7 + $step) % 5;
        if ($i % 40 == $step) { mkdir 'moved'; rename $name, $moved; next; }
        if ($i % 50 == $step) { unlink $name; next; }
        next if !-e $name;
    }
    my $state = $i + 1;
    open(my $out, '>', $name) or die "$name: $!";
    for my $line (0 .. 20 + $i % 90) {
        $state = ($state * 1103515245 + 12345) & 0x7fffffff;
        my $changed = $line % 9 == $step ? " changed in $step" : '';
        print $out "line $line of $i: word", ($state >> 8) % 1000, $changed, "\n";
    }
    close($out) or die "$name: $!";
}
