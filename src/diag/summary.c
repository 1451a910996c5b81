/* See summary.h. */
#include "diag/summary.h"

#include "base/config.h"
#include "base/report.h"
#include "cache/cache.h"
#include "diag/stats.h"
#include "os/host.h"
#include "os/vm.h"
#include "page/commit.h"

void wr_summary_prepare(void)
{
    wr_report_keep_standard_error();
}

void wr_summary_print(void)
{
    wr_stats_calls calls = wr_stats_calls_now();
    wr_line line;
    wr_line_begin(&line);
    wr_line_text(&line, "weir: pid ");
    wr_line_decimal(&line, (uint64_t)wr_host_process_id());
    wr_line_text(&line, ": served ");
    wr_line_bytes(&line, calls.served_bytes);
    wr_line_text(&line, ", peak ");
    wr_line_bytes(&line, wr_vm_mapped_peak_bytes());
    wr_line_text(&line, " mapped, ");
    wr_line_bytes(&line, wr_commit_bytes());
    wr_line_text(&line, " committed, ");
    wr_line_bytes(&line, wr_vm_given_back_bytes());
    wr_line_text(&line, " given back, ");
    wr_line_decimal(&line, calls.slow_calls);
    wr_line_text(&line, " slow calls, ");
    wr_line_decimal(&line, wr_cache_count());
    wr_line_text(&line, " caches");
    size_t now_kib;
    size_t peak_kib;
    if (wr_host_resident_kib(&now_kib, &peak_kib)) {
        wr_line_text(&line, ", RSS ");
        wr_line_bytes(&line, now_kib * WR_KIB);
        wr_line_text(&line, " (peak ");
        wr_line_bytes(&line, peak_kib * WR_KIB);
        wr_line_text(&line, ")");
    }
    wr_line_end(&line);
    wr_report_line(&line);
}
