/* A small manager linked to Debian's libwork_queue: the old application end of the interoperability tests.
 *
 *   mini_manager SCRIPT RESULTS [--port-file F] [--password F] [--name N] [--catalog HOST:PORT]
 *
 * SCRIPT holds one order per line, words separated by tabs, each word percent-encoded where it holds a tab, a
 * newline or a percent sign:
 *
 *   task TAG COMMAND              begins a task
 *   file LOCAL REMOTE FLAGS       input file (FLAGS: bits of work_queue_file_flags_t, decimal)
 *   directory LOCAL REMOTE FLAGS  input directory, whole; an empty LOCAL makes an empty directory
 *   piece LOCAL REMOTE FLAGS FIRST LAST
 *   buffer TEXT REMOTE FLAGS
 *   url URL REMOTE FLAGS
 *   command TEXT REMOTE FLAGS     made at the worker by a command that holds "%%"
 *   output LOCAL REMOTE FLAGS
 *   env NAME VALUE   cores N   memory MB   disk MB   priority X   category NAME   end_time SECONDS
 *   submit                        ends a task
 *   wait                          until every submitted task has come back
 *   cancel TAG                    of a submitted task
 *   invalidate LOCAL              forget this cached input everywhere
 *   sleep SECONDS                 keep the manager alive, serving its workers
 *
 * RESULTS gets a line per task that came back: tag, result, exit status, host, output (percent-encoded).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "work_queue.h"

/* Exported by the library, missing in its header. */
int work_queue_task_specify_url(struct work_queue_task* task, const char* url, const char* remote,
                                work_queue_file_type_t type, work_queue_file_flags_t flags);

enum { max_words = 8 };

static struct work_queue* queue;
static struct work_queue_task* task;
static FILE* results;
static int line_number;

static void die(const char* what, const char* which) {
  fprintf(stderr, "mini_manager: line %d: %s: %s\n", line_number, what, which);
  exit(2);
}

static int hex(int c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }

/* In place; a NUL in a word is not supported. */
static void decode(char* text) {
  char* out = text;
  for (; *text; ++text) {
    if (text[0] == '%' && text[1] && text[2]) {
      *out++ = (char)(hex(text[1]) * 16 + hex(text[2]));
      text += 2;
    } else {
      *out++ = *text;
    }
  }
  *out = 0;
}

static void print_encoded(const char* text) {
  for (; text && *text; ++text) {
    unsigned char c = (unsigned char)*text;
    if (c < 0x20 || c == '%' || c >= 0x7f) {
      fprintf(results, "%%%02X", c);
    } else {
      fputc(c, results);
    }
  }
}

static void collect(int seconds) {
  struct work_queue_task* done = work_queue_wait(queue, seconds);
  if (!done) return;
  fprintf(results, "%s\t%d\t%d\t%s\t", done->tag, (int)done->result, done->return_status,
          done->hostname ? done->hostname : "-");
  print_encoded(done->output);
  fputc('\n', results);
  fflush(results);
  work_queue_task_delete(done);
}

static void sleep_serving(int seconds) {
  time_t end = time(NULL) + seconds;
  while (time(NULL) < end) {
    time_t start = time(NULL);
    collect(1);
    if (time(NULL) == start) usleep(200000); /* an empty queue returns at once */
  }
}

static int specify_input(char** words, int count) {
  const char* kind = words[0];
  int flags = count > 3 ? atoi(words[3]) : 0;
  const char *local = words[1], *remote = words[2];
  if (count < 4) return 0;
  if (!strcmp(kind, "file")) return work_queue_task_specify_file(task, local, remote, WORK_QUEUE_INPUT, flags);
  if (!strcmp(kind, "output")) return work_queue_task_specify_file(task, local, remote, WORK_QUEUE_OUTPUT, flags);
  if (!strcmp(kind, "url")) return work_queue_task_specify_url(task, local, remote, WORK_QUEUE_INPUT, flags);
  if (!strcmp(kind, "buffer")) return work_queue_task_specify_buffer(task, local, (int)strlen(local), remote, flags);
  if (!strcmp(kind, "command"))
    return work_queue_task_specify_file_command(task, remote, local, WORK_QUEUE_INPUT, flags);
  if (!strcmp(kind, "directory"))
    return work_queue_task_specify_directory(task, *local ? local : NULL, remote, WORK_QUEUE_INPUT, flags, *local != 0);
  if (!strcmp(kind, "piece") && count >= 6)
    return work_queue_task_specify_file_piece(task, local, remote, atoll(words[4]), atoll(words[5]), WORK_QUEUE_INPUT,
                                              flags);
  return 0;
}

static int specify_property(char** words, int count) {
  if (count < 2) return 0;
  if (!strcmp(words[0], "env") && count >= 3) {
    work_queue_task_specify_environment_variable(task, words[1], words[2]);
  } else if (!strcmp(words[0], "cores")) {
    work_queue_task_specify_cores(task, atoi(words[1]));
  } else if (!strcmp(words[0], "memory")) {
    work_queue_task_specify_memory(task, atoll(words[1]));
  } else if (!strcmp(words[0], "disk")) {
    work_queue_task_specify_disk(task, atoll(words[1]));
  } else if (!strcmp(words[0], "priority")) {
    work_queue_task_specify_priority(task, atof(words[1]));
  } else if (!strcmp(words[0], "category")) {
    work_queue_task_specify_category(task, words[1]);
  } else if (!strcmp(words[0], "end_time")) {
    work_queue_task_specify_end_time(task, (time(NULL) + atoll(words[1])) * 1000000);
  } else {
    return 0;
  }
  return 1;
}

static int control(char** words, int count) {
  if (!strcmp(words[0], "submit")) {
    work_queue_submit(queue, task);
    task = NULL;
  } else if (!strcmp(words[0], "wait")) {
    while (!work_queue_empty(queue)) collect(5);
  } else if (count < 2) {
    return 0;
  } else if (!strcmp(words[0], "task") && count >= 3) {
    task = work_queue_task_create(words[2]);
    work_queue_task_specify_tag(task, words[1]);
  } else if (!strcmp(words[0], "cancel")) {
    struct work_queue_task* cancelled = work_queue_cancel_by_tasktag(queue, words[1]);
    fprintf(results, "%s\t%s\t0\t-\t\n", words[1], cancelled ? "cancelled" : "unknown");
    fflush(results);
  } else if (!strcmp(words[0], "invalidate")) {
    work_queue_invalidate_cached_file(queue, words[1], WORK_QUEUE_FILE);
  } else if (!strcmp(words[0], "sleep")) {
    sleep_serving(atoi(words[1]));
  } else {
    return 0;
  }
  return 1;
}

static void obey(char* line) {
  char* words[max_words];
  int count = 0;
  line[strcspn(line, "\n")] = 0;
  for (char* word; count < max_words && (word = strsep(&line, "\t"));) {
    decode(word);
    words[count++] = word;
  }
  if (count == 0 || !*words[0]) return;
  if (control(words, count)) return;
  if (!task || !(specify_property(words, count) || specify_input(words, count))) die("cannot do", words[0]);
}

static void set_up(int argc, char** argv) {
  for (int i = 3; i + 1 < argc; i += 2) {
    const char* value = argv[i + 1];
    if (!strcmp(argv[i], "--port-file")) {
      FILE* file = fopen(value, "w");
      if (!file) die("cannot write", value);
      fprintf(file, "%d\n", work_queue_port(queue));
      fclose(file);
    } else if (!strcmp(argv[i], "--password")) {
      if (!work_queue_specify_password_file(queue, value)) die("cannot read password file", value);
    } else if (!strcmp(argv[i], "--name")) {
      work_queue_specify_name(queue, value);
    } else if (!strcmp(argv[i], "--catalog")) {
      work_queue_specify_catalog_servers(queue, value);
    } else {
      die("unknown option", argv[i]);
    }
  }
}

int main(int argc, char** argv) {
  FILE* script;
  char* line = NULL;
  size_t capacity = 0;
  if (argc < 3) {
    fprintf(stderr, "usage: mini_manager SCRIPT RESULTS [--port-file F] [--password F] [--name N] [--catalog H:P]\n");
    return 2;
  }
  script = fopen(argv[1], "r");
  results = fopen(argv[2], "w");
  if (!script || !results) die("cannot open", script ? argv[2] : argv[1]);
  queue = work_queue_create(WORK_QUEUE_RANDOM_PORT);
  if (!queue) die("cannot listen", "work_queue_create");
  set_up(argc, argv);
  while (getline(&line, &capacity, script) >= 0) {
    ++line_number;
    obey(line);
  }
  free(line);
  work_queue_delete(queue);
  fclose(results);
  fclose(script);
  return 0;
}
