// Dragging an item of a list to another place by its grip: with mouse, pen and touch.

/**
 * Let the items of a list be dragged by their `.grip`. `itemOf(grip)` finds the item, or
 * null where it must not move. `start(item)` is called when the pointer has moved by
 * `threshold` pixels, at once for 0; then `move(item, x, y)` for each move, and at last
 * `end(item, dropped)`. Returns a function that cancels a drag that has started, or
 * returns false when there is none.
 */
export function dragByGrip ({ root = document, threshold = 0, itemOf, start, move, end }) {
  let drag = null

  function begin () {
    drag.started = true
    start(drag.item)
  }

  function finish (dropped) {
    if (!drag) return
    const { item, started } = drag
    drag = null
    if (started) end(item, dropped)
  }

  root.addEventListener('pointerdown', (event) => {
    const grip = event.target.closest?.('.grip')
    const item = grip && !event.button && itemOf(grip)
    if (!item) return
    grip.setPointerCapture(event.pointerId)
    drag = { item, x: event.clientX, y: event.clientY, started: false }
    if (!threshold) begin()
  })
  root.addEventListener('pointermove', ({ clientX: x, clientY: y }) => {
    if (!drag) return
    if (!drag.started && Math.hypot(x - drag.x, y - drag.y) >= threshold) begin()
    if (drag.started) move(drag.item, x, y)
  })
  root.addEventListener('pointerup', () => finish(true))
  root.addEventListener('pointercancel', () => finish(false))
  return () => drag?.started ? finish(false) : false
}
