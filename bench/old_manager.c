/* An old manager library with equal tasks, as fast as it goes: the peer that work_queue_bench measures.
 *
 *   old_manager KEY=VALUE…
 *
 * port-file=FILE   where the port goes, once the first tasks are queued
 * tasks=N          how many; ahead=N: at most so many are queued (default: all at once)
 * command=TEXT     of every task (default true)
 * inputs=DIR       task i gets DIR/i as "in", not cached; outputs=DIR: it returns "out" as DIR/i
 * shared=DIR files=N cache=N   each task gets N of the files DIR/0 … DIR/(cache-1), cached at the worker
 * categories=N     tasks take turns in N categories
 * misfits=N        so many tasks that fit nowhere, ahead of the others
 * big=FILE         one more input of the first task
 * burst=N          the first N tasks ask for the feature "burst" and return "out"; the others for "control"
 * password=FILE    for its workers
 * mode=probe       one task after the other, gap-ms=N between them; mode=submit: submit, report and end
 * distinct=1       every task has a command of its own
 * report=FILE      "NAME VALUE" lines: submit_cpu_s, rss_before, rss_after, first_s, last_s, done;
 *                  probes: one "probe SUBMITTED RETURNED" each (seconds of CLOCK_MONOTONIC)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "work_queue.h"

static int argument_count;
static char** arguments;

static const char* option(const char* name, const char* otherwise) {
  size_t length = strlen(name);
  int i;
  for (i = 1; i < argument_count; ++i) {
    if (!strncmp(arguments[i], name, length) && arguments[i][length] == '=') return arguments[i] + length + 1;
  }
  return otherwise;
}

static long number(const char* name, long otherwise) {
  const char* text = option(name, NULL);
  return text ? atol(text) : otherwise;
}

static double clock_s(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static long resident_bytes(void) {
  long size = 0, resident = 0;
  FILE* file = fopen("/proc/self/statm", "r");
  if (!file) return 0;
  if (fscanf(file, "%ld %ld", &size, &resident) != 2) resident = 0;
  fclose(file);
  return resident * sysconf(_SC_PAGESIZE);
}

static struct work_queue* queue;
static const char *inputs, *outputs, *big_file, *shared;
static long burst, files, cache, categories, distinct;

static void add_files(struct work_queue_task* task, long number) {
  char path[4096], name[32];
  long i;
  if (big_file && number == 0) {
    work_queue_task_specify_file(task, big_file, "big", WORK_QUEUE_INPUT, WORK_QUEUE_NOCACHE);
    work_queue_task_specify_priority(task, 1);
  }
  if (inputs) {
    snprintf(path, sizeof path, "%s/%ld", inputs, number);
    work_queue_task_specify_file(task, path, "in", WORK_QUEUE_INPUT, WORK_QUEUE_NOCACHE);
  }
  for (i = 0; i < files; ++i) {
    snprintf(path, sizeof path, "%s/%ld", shared, (number * files + i) % cache);
    snprintf(name, sizeof name, "shared%ld", i);
    work_queue_task_specify_file(task, path, name, WORK_QUEUE_INPUT, WORK_QUEUE_CACHE);
  }
  if (outputs && (burst == 0 || number < burst)) {
    snprintf(path, sizeof path, "%s/%ld", outputs, number);
    work_queue_task_specify_file(task, path, "out", WORK_QUEUE_OUTPUT, WORK_QUEUE_NOCACHE);
  }
}

static void submit(long number, int cores) {
  char text[4096];
  struct work_queue_task* task;
  snprintf(text, sizeof text, distinct ? "%s %ld" : "%s", option("command", "true"), number);
  task = work_queue_task_create(text);
  work_queue_task_specify_cores(task, cores);
  work_queue_task_specify_memory(task, 1);
  work_queue_task_specify_disk(task, 1);
  if (categories > 0) {
    snprintf(text, sizeof text, "step%ld", number % categories);
    work_queue_task_specify_category(task, text);
  }
  if (burst > 0) work_queue_task_specify_feature(task, number < burst ? "burst" : "control");
  if (number >= 0) add_files(task, number);
  work_queue_submit(queue, task);
}

/* One finished task, if there is one within five seconds. */
static int take(void) {
  struct work_queue_task* task = work_queue_wait(queue, 5);
  if (task) work_queue_task_delete(task);
  return task != NULL;
}

static void probe(long tasks, FILE* report) {
  long i;
  const long gap_us = number("gap-ms", 0) * 1000;
  for (i = 0; i < tasks; ++i) {
    double start;
    if (gap_us > 0) usleep(gap_us);
    start = clock_s(CLOCK_MONOTONIC);
    submit(i, 1);
    while (!take()) {
    }
    if (report) fprintf(report, "probe %.9f %.9f\n", start, clock_s(CLOCK_MONOTONIC));
  }
}

static int write_port(void) {
  FILE* file = fopen(option("port-file", "port"), "w");
  if (!file) {
    perror("old_manager: port-file");
    return 1;
  }
  fprintf(file, "%d\n", work_queue_port(queue));
  fclose(file);
  return 0;
}

/* Submits, reports what that cost, and says where it listens. */
static long submit_first(long tasks, FILE* report) {
  long ahead = number("ahead", 0), submitted = 0, misfits;
  const long before = resident_bytes();
  const double start = clock_s(CLOCK_PROCESS_CPUTIME_ID);
  if (ahead <= 0 || ahead > tasks) ahead = tasks;
  for (misfits = number("misfits", 0); misfits > 0; --misfits) submit(-misfits, 1000);
  while (submitted < ahead) submit(submitted++, 1);
  if (report) {
    fprintf(report, "submit_cpu_s %.9f\nrss_before %ld\nrss_after %ld\n", clock_s(CLOCK_PROCESS_CPUTIME_ID) - start,
            before, resident_bytes());
    fflush(report);
  }
  return submitted;
}

static void run(long tasks, long submitted, FILE* report) {
  long done = 0;
  double first = 0, last = 0;
  while (done < tasks) {
    if (!take()) continue;
    last = clock_s(CLOCK_MONOTONIC);
    if (done++ == 0) first = last;
    if (submitted < tasks) submit(submitted++, 1);
  }
  if (report) fprintf(report, "first_s %.9f\nlast_s %.9f\ndone %ld\n", first, last, done);
}

int main(int argc, char** argv) {
  const char* mode;
  long tasks, submitted = 0;
  FILE* report;
  argument_count = argc;
  arguments = argv;
  mode = option("mode", "run");
  tasks = number("tasks", 1000);
  inputs = option("inputs", NULL);
  outputs = option("outputs", NULL);
  big_file = option("big", NULL);
  shared = option("shared", NULL);
  burst = number("burst", 0);
  files = shared ? number("files", 0) : 0;
  cache = number("cache", 1);
  categories = number("categories", 0);
  distinct = number("distinct", 0);
  report = option("report", NULL) ? fopen(option("report", NULL), "w") : NULL;
  queue = work_queue_create(WORK_QUEUE_RANDOM_PORT);
  if (!queue) {
    perror("old_manager: cannot listen");
    return 1;
  }
  if (option("password", NULL)) work_queue_specify_password_file(queue, option("password", NULL));
  if (strcmp(mode, "probe")) submitted = submit_first(tasks, report);
  if (write_port()) return 1;
  if (!strcmp(mode, "probe")) {
    probe(tasks, report);
  } else if (!strcmp(mode, "run")) {
    run(tasks, submitted, report);
  }
  if (report) fclose(report);
  work_queue_delete(queue);
  return 0;
}
