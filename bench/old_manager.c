/* Debian's manager library with equal tasks, as fast as it goes: the peer that work_queue_bench measures.
 *
 *   old_manager PORT_FILE TASKS AHEAD COMMAND [INPUT_DIR|-] [OUTPUT_DIR|- [MISFITS [BIG_FILE]]]
 *
 * Keeps at most AHEAD tasks queued (0: all at once). With INPUT_DIR task i gets the file INPUT_DIR/i as "in",
 * not cached; with OUTPUT_DIR it returns "out" as OUTPUT_DIR/i. MISFITS tasks that fit nowhere are submitted first; the
 * first other task gets BIG_FILE. Ends when all tasks but the misfits are done.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "work_queue.h"

static const char *command, *inputs, *outputs, *big_file;

static void submit(struct work_queue* queue, int number, int cores) {
  char path[4096];
  struct work_queue_task* task = work_queue_task_create(command);
  work_queue_task_specify_cores(task, cores);
  work_queue_task_specify_memory(task, 1);
  work_queue_task_specify_disk(task, 1);
  if (big_file && number == 0) {
    work_queue_task_specify_file(task, big_file, "big", WORK_QUEUE_INPUT, WORK_QUEUE_NOCACHE);
    work_queue_task_specify_priority(task, 1);
  }
  if (inputs) {
    snprintf(path, sizeof path, "%s/%d", inputs, number);
    work_queue_task_specify_file(task, path, "in", WORK_QUEUE_INPUT, WORK_QUEUE_NOCACHE);
  }
  if (outputs) {
    snprintf(path, sizeof path, "%s/%d", outputs, number);
    work_queue_task_specify_file(task, path, "out", WORK_QUEUE_OUTPUT, WORK_QUEUE_NOCACHE);
  }
  work_queue_submit(queue, task);
}

int main(int argc, char** argv) {
  int tasks, ahead, misfits, submitted = 0, done = 0;
  struct work_queue* queue;
  FILE* file;
  if (argc < 5) {
    fprintf(stderr, "usage: old_manager PORT_FILE TASKS AHEAD COMMAND [INPUT_DIR|-] [OUTPUT_DIR|-]\n");
    return 2;
  }
  tasks = atoi(argv[2]);
  ahead = atoi(argv[3]);
  command = argv[4];
  inputs = argc > 5 && strcmp(argv[5], "-") ? argv[5] : NULL;
  outputs = argc > 6 && strcmp(argv[6], "-") ? argv[6] : NULL;
  if (ahead <= 0 || ahead > tasks) ahead = tasks;
  queue = work_queue_create(WORK_QUEUE_RANDOM_PORT);
  if (!queue) {
    perror("old_manager: cannot listen");
    return 1;
  }
  big_file = argc > 8 ? argv[8] : NULL;
  for (misfits = argc > 7 ? atoi(argv[7]) : 0; misfits > 0; --misfits) submit(queue, -misfits, 1000);
  while (submitted < ahead) submit(queue, submitted++, 1);
  file = fopen(argv[1], "w");
  if (!file) {
    perror(argv[1]);
    return 1;
  }
  fprintf(file, "%d\n", work_queue_port(queue));
  fclose(file);
  while (done < tasks) {
    struct work_queue_task* task = work_queue_wait(queue, 5);
    if (!task) continue;
    ++done;
    work_queue_task_delete(task);
    if (submitted < tasks) submit(queue, submitted++, 1);
  }
  work_queue_delete(queue);
  return 0;
}
