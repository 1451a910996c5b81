-- Prints what wrk counted, failures of every kind as one number.
done = function(summary)
  local e = summary.errors
  local failures = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("requests %d\nfailures %d\n", summary.requests, failures))
  if failures > 0 then
    io.write(string.format("failed: connect %d read %d write %d status %d timeout %d\n",
      e.connect, e.read, e.write, e.status, e.timeout))
  end
end
