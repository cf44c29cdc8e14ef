/* A manager of the old library with monitoring switched on: what applications written for it do.
 *
 *   monitored_manager FULL DIRECTORY PORT_FILE KNOWN_USE
 *
 * Submits five tasks and prints a line for each that came back, by tag:
 *   TAG RESULT RETURN_STATUS EXIT_TYPE MEMORY CPU_TIME DISK EXCEEDED_MEMORY
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rmsummary.h"
#include "work_queue.h"

static struct work_queue* queue;

static void submit(const char* tag, const char* command, const char* category, const char* program) {
  struct work_queue_task* task = work_queue_task_create(command);
  work_queue_task_specify_tag(task, tag);
  work_queue_task_specify_category(task, category);
  work_queue_task_specify_file(task, program, "known_use", WORK_QUEUE_INPUT, WORK_QUEUE_CACHE);
  work_queue_task_specify_cores(task, 1);
  work_queue_task_specify_memory(task, 200);
  work_queue_task_specify_disk(task, 500);
  if (strcmp(tag, "exhausted") == 0) work_queue_task_specify_running_time(task, 120 * 1000000ULL);
  if (strcmp(tag, "late") == 0) work_queue_task_specify_running_time(task, 2 * 1000000ULL);
  work_queue_submit(queue, task);
}

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  queue = work_queue_create(0);
  if (!queue) return 2;
  const int full = atoi(argv[1]);
  const int ok =
      full ? work_queue_enable_monitoring_full(queue, argv[2], 1) : work_queue_enable_monitoring(queue, argv[2], 1);
  if (!ok) return 3;
  FILE* port = fopen(argv[3], "w");
  if (!port) return 2;
  fprintf(port, "%d\n", work_queue_port(queue));
  fclose(port);
  submit("good", "echo \"$HOME costs 5\\$\" && ./known_use memory 100 0.4", "plain", argv[4]);
  submit("failed", "./known_use spin 1 0.3; exit 7", "with \"quotes\" and [x]", argv[4]);
  submit("exhausted", "./known_use memory 400 300", "plain", argv[4]);
  submit("late", "sleep 300", "plain", argv[4]);
  submit("killed", "kill -9 $$", "plain", argv[4]);
  while (!work_queue_empty(queue)) {
    struct work_queue_task* task = work_queue_wait(queue, 5);
    if (!task) continue;
    const struct rmsummary* m = task->resources_measured;
    printf("%s %d %d %s %.0f %.3f %.0f %.0f\n", task->tag, (int)task->result, task->return_status,
           m && m->exit_type ? m->exit_type : "none", m ? m->memory : -1, m ? m->cpu_time : -1, m ? m->disk : -1,
           m && m->limits_exceeded ? m->limits_exceeded->memory : -1);
    fflush(stdout);
    work_queue_task_delete(task);
  }
  work_queue_delete(queue);
  return 0;
}
