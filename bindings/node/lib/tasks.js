/**
 * Tasks in the order in which they were queued, one for each turn of the event loop, with the
 * microtasks of each done before the next (HTML §8.1.7). What the stack reports goes the same way,
 * so that it cannot overtake the end of a call that came before.
 */

const queue = [];
let scheduled = false;

function run() {
  const task = queue.shift();
  if (queue.length > 0) setImmediate(run);
  else scheduled = false;
  task();
}

/** @param {() => void} task */
export function queueTask(task) {
  queue.push(task);
  if (!scheduled) {
    scheduled = true;
    setImmediate(run);
  }
}

/** Queues a task that settles a promise, and answers the promise. */
export function taskPromise(steps) {
  return new Promise((resolve, reject) => {
    queueTask(() => {
      try {
        resolve(steps());
      } catch (error) {
        reject(error);
      }
    });
  });
}
