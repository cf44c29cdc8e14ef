// What --help and --version print.
#include <sys/utsname.h>

#include "worker/app/options.hpp"

namespace taskmill::worker {

std::string version_text(const std::string& program) {
  utsname names{};
  ::uname(&names);
  return program + " version 8.0.0 TASKMILL 0.1 (released " __DATE__ ")\n" +
         "\tBuilt by taskmill with g++ " __VERSION__ " at " __DATE__ " " __TIME__ "\n" + "\tSystem: " + names.sysname +
         " " + names.nodename + " " + names.release + " " + names.machine + "\n" +
         "\tConfiguration: Work Queue protocols 9 and 11, TLS, static\n";
}

namespace {

constexpr const char* how_tasks_run = R"(How tasks run:
 -s,--workdir=DIR            Where the workspace goes (default: $CCTOOLS_TEMP, $_CONDOR_SCRATCH_DIR, $TMPDIR, /tmp).
    --task-wrapper=CMD       Run every task through CMD; {} is the command, [] the command as one quoted word.
    --enforce=WHEN           Stop tasks above their memory or disk: native (default: when our manager asks for it),
                             always, never.
    --enforce-cores          Stop tasks that use more cores than they were given, too (otherwise it is only told).
    --process-limit=N        Stop a task with more processes at one time (default 2000; 0: no limit).
    --cgroup=WHERE           Run each task in a control group (v2): auto (default: below our own, if it is delegated to
                             us), off, or the folder of one.
    --cache-dir=DIR          Keep software environments in DIR, shared by all workers of this user on this machine;
                             otherwise they live in the workspace, for all sessions of this worker.
    --cache-limit=MB         Unused environments are removed above this, the least recently used first (default 20480).
    --without=LIST           Do not use these extensions with native managers, for tests and comparisons:
                             batch, enforce, env, measure, peer, zstd (docs/extensions.md).
    --use-shell              Start even the simplest command through /bin/sh.
    --coprocess=PROGRAM      Answers function tasks; --coprocesses-total=N copies of it run (default: one for each core),
                             each announced with --coprocess-cores=N, -memory, -disk, -gpus (default: the worker's).
    --disable-symlinks       Never put inputs into sandboxes as symbolic links.

)";

}  // namespace

std::string usage_text(const std::string& program) {
  return "Use: " + program + R"( [options] HOST PORT
     )" + program +
         R"( [options] "HOST:PORT[;HOST:PORT...]"
     )" + program +
         R"( [options] -M PROJECT

A worker runs the tasks of a Work Queue manager on this machine. Start as many as you like, anywhere; each offers the
cores, memory and disk it finds, and leaves by itself when there is no work.

  )" + program +
         R"( -P password.txt manager.example.org 9123     one manager, by address
  )" + program +
         R"( -P password.txt -M 'myproject.*'              whoever has that name in the catalog

Finding a manager:
 -M,--manager-name=REGEX     Work for managers whose project name matches (whole name, extended regular expression).
 -C,--catalog=HOST[:PORT],.. Catalogs to ask (default: $CATALOG_HOST, else localhost:9097).
    --connection-mode=MODE   Which of the manager's addresses to use: by_ip, by_hostname, by_apparent_ip.
 -P,--password=FILE          The secret shared with the manager is the content of this file.
    --ssl                    Talk TLS (with -M the catalog says so by itself).
    --ssl-ca=FILE            TLS, and only with certificates signed by this CA, for this host.
    --ssl-fingerprint=SHA256 TLS, and only with the certificate that has this fingerprint.
    --protocol=9|11|auto     Version to speak (default: find out).

How long to stay:
 -t,--timeout=TIME           Set both time-outs below (default 900s; 30s, 5m, 2h, 1d are understood).
    --idle-timeout=TIME      Leave after so long without work.
    --connect-timeout=TIME   Give up after so long without a manager.
    --wall-time=SECONDS      Leave after so long in any case, and tell the manager when that will be.
    --single-shot            Leave after the first session.
    --parent-death           Leave when the parent process is gone.
 -i,--min-backoff=TIME       Wait before the first new attempt (default 1s), doubled each time...
 -b,--max-backoff=TIME       ...up to this (default 60s).

What to offer:
    --cores=N                Default: physical cores within CPU affinity, control group and batch job. 0 or all: default.
    --memory=MB              Default: this machine's memory, or the limit of the control group or batch job.
    --disk=MB                Default: what is free below the work directory. A number is a promise that is checked.
    --gpus=N                 Default: what nvidia-smi counts.
    --feature=NAME           Announce a feature that tasks may ask for; repeatable.
 -A,--arch=NAME  -O,--os=NAME  Announce these instead of uname's.
    --from-factory=NAME      Announce the factory that started this worker.

)" + how_tasks_run +
         R"(Seeing what happens:
 -d,--debug=FLAG             Show details: wq (protocol and tasks), tcp, all, ...; repeatable.
 -o,--debug-file=FILE        Write them there (default :stderr; also :stdout).
    --debug-rotate-max=BYTES Start a new file at this size and keep one FILE.old (default 0: never).
    --exit-codes=strict      Exit 3 when no manager was ever joined (otherwise every orderly end is 0).
    --volatility=P           For tests: leave the manager with probability P each minute.
 -v,--version  -h,--help     Show the version; show this text.

Accepted and ignored: -a -c -p X -w X -z X --advertise --bandwidth --disk-allocation --disk-threshold --fast-abort
 --measure-capacity --memory-threshold --specify-log --tcp-window-size --tlq.

Exit status: 0 after every orderly end, 1 for wrong options or an unusable work directory.
)";
}

}  // namespace taskmill::worker
