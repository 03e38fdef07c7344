// Zooming and panning an image: by wheel, pinch, double click, dragging and keys.

const MAX_SCALE = 8
const STEP = 1.5
const DOUBLE_CLICK_SCALE = 2.5
const WHEEL_SPEED = 0.0022 // of the scale's logarithm, per pixel
const PAN_STEP = 80 // pixels, per key

const clamp = (value, min, max) => Math.min(Math.max(value, min), max)

/**
 * Make the image of a stage zoomable. `changed` is called with the scale whenever it
 * changes. The image fills the stage at scale 1.
 */
export function zoomable (stage, changed) {
  const view = { scale: 1, x: 0, y: 0 }
  const pointers = new Map()
  const scroller = stage.closest('.content')
  const scrolls = () => scroller && scroller.scrollHeight > scroller.clientHeight
  const image = () => stage.querySelector('.large img')

  function apply () {
    const { offsetWidth: width, offsetHeight: height } = stage
    const [across, down] = [width * (view.scale - 1) / 2, height * (view.scale - 1) / 2]
    view.x = clamp(view.x, -across, across)
    view.y = clamp(view.y, -down, down)
    const shown = image()
    if (shown) shown.style.transform = view.scale === 1 ? '' : `translate(${view.x}px, ${view.y}px) scale(${view.scale})`
    stage.classList.toggle('zoomed', view.scale > 1)
    changed(view.scale)
  }

  /** Zoom, so that the point of the window stays where it is. */
  function zoomTo (scale, point = null) {
    if (!image()) return
    const box = stage.getBoundingClientRect()
    const [x, y] = point ? [point.x - box.left - box.width / 2, point.y - box.top - box.height / 2] : [0, 0]
    const next = clamp(scale, 1, MAX_SCALE)
    const ratio = next / view.scale
    view.x = x - (x - view.x) * ratio
    view.y = y - (y - view.y) * ratio
    view.scale = next
    apply()
  }

  stage.addEventListener('wheel', (event) => {
    // A page that scrolls keeps its wheel until the image is zoomed.
    if (!event.ctrlKey && view.scale === 1 && scrolls()) return
    event.preventDefault()
    zoomTo(view.scale * Math.exp(-event.deltaY * WHEEL_SPEED), { x: event.clientX, y: event.clientY })
  }, { passive: false })

  stage.addEventListener('dblclick', (event) => {
    if (event.target.closest('button')) return
    zoomTo(view.scale > 1 ? 1 : DOUBLE_CLICK_SCALE, { x: event.clientX, y: event.clientY })
  })

  stage.addEventListener('dragstart', (event) => event.preventDefault())

  stage.addEventListener('pointerdown', (event) => {
    if (event.button || event.target.closest('button')) return
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY })
    if (view.scale > 1 || pointers.size > 1) stage.setPointerCapture(event.pointerId)
  })

  stage.addEventListener('pointermove', (event) => {
    const before = pointers.get(event.pointerId)
    if (!before) return
    const now = { x: event.clientX, y: event.clientY }
    pointers.set(event.pointerId, now)
    if (pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point)
      const [was, is] = [before, now].map(({ x, y }) => Math.hypot(x - other.x, y - other.y))
      if (was > 0) zoomTo(view.scale * is / was, { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 })
    } else if (view.scale > 1) {
      view.x += now.x - before.x
      view.y += now.y - before.y
      apply()
    }
  })

  for (const end of ['pointerup', 'pointercancel']) {
    stage.addEventListener(end, ({ pointerId }) => pointers.delete(pointerId))
  }

  return {
    get scale () { return view.scale },
    zoomIn: () => zoomTo(view.scale * STEP),
    zoomOut: () => zoomTo(view.scale / STEP),
    reset: () => zoomTo(1),
    /** Move by steps across and down; return false at scale 1. */
    pan (across, down) {
      if (view.scale === 1) return false
      view.x -= across * PAN_STEP
      view.y -= down * PAN_STEP
      apply()
    }
  }
}
