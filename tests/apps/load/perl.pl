# Hashes, strings, sorts, regular expressions, threads and fork. Prints results and digests only.
use strict;
use warnings;
use threads;
use Digest::SHA qw(sha256_hex);

{
    open(my $in,  '<', '/proc/self/maps') or die "maps: $!";
    open(my $out, '>', $ARGV[0])          or die "$ARGV[0]: $!";
    print $out $_ while <$in>;
    close($out) or die "$ARGV[0]: $!";
}

# A generator of our own: perl's rand differs between builds.
sub generator {
    my $state = shift;
    return sub { $state = ($state * 1103515245 + 12345) & 0x7fffffff; return ($state >> 8) % shift }
}

sub work {
    my ($seed, $count) = @_;
    my $next = generator($seed);
    my (%count_of, %list_of, @words);
    for my $i (1 .. $count) {
        my $word = join '', map { chr(97 + $next->(26)) } 1 .. 2 + $next->(9);
        $count_of{$word}++;
        push @{ $list_of{ substr($word, 0, 2) } }, { id => $i, word => $word };
        push @words, $word if $i % 3 == 0;
    }
    my $text = '';
    $text .= $words[$_] . ($_ % 11 ? ' ' : "\n") for 0 .. $#words;
    my @sorted = sort { $count_of{$b} <=> $count_of{$a} || $a cmp $b } keys %count_of;
    my %vowels;
    $vowels{ length $1 }++ while $text =~ /([aeiou]+)/g;
    (my $swapped = $text) =~ s/(\w)(\w+)/$2$1/g;
    my @lines = sort { length($a) <=> length($b) || $a cmp $b } split /\n/, $swapped;
    delete @list_of{ grep { ord($_) % 2 } keys %list_of };
    my $deep = join ';', map {
        my $k = $_;
        "$k=" . join ',', map { $_->{id} } sort { $a->{word} cmp $b->{word} || $a->{id} <=> $b->{id} }
            @{ $list_of{$k} }
    } sort keys %list_of;
    return join ' ', scalar(@sorted), $sorted[0], sha256_hex("@sorted"), sha256_hex("@lines"),
        sha256_hex($deep), map { "$_:$vowels{$_}" } sort { $a <=> $b } keys %vowels;
}

print work($_, 120_000), "\n" for 1 .. 3;

# Each interpreter thread starts as a copy of all data so far and frees it at its end.
my @copied = map { "item $_" x ($_ % 7) } 1 .. 20_000;
for my $round (1 .. 3) {
    my @threads = map { my $n = $_; threads->create(sub { work(100 * $round + $n, 15_000) }) } 1 .. 4;
    print $_->join, "\n" for @threads;
}

my $grown = '';
for my $i (1 .. 400_000) {
    $grown .= "$i,";
    substr($grown, 0, 1000, '') if $i % 1000 == 0;
}
print length($grown), ' ', sha256_hex($grown), "\n";

$| = 1;
for my $n (1 .. 4) {
    my $child = open(my $pipe, '-|') // die "fork: $!";
    if (!$child) {
        @copied = sort { $b cmp $a } @copied;
        print work(1000 + $n, 20_000), ' ', sha256_hex("@copied"), "\n";
        exit 0;
    }
    print while <$pipe>;
    close($pipe) or die "child: $?";
}
