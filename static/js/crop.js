// Searching by a part of an image: a frame, moved and resized by mouse, touch and keys.

import { find } from './dom.js'
import { searchByFiles, storedImage } from './query_images.js'

const MIN_SIZE = 24 // pixels of the image, for each side of the part
const STEP = 0.02 // of the image's longer side, per key press

const dialog = find('#crop')
const canvas = find('canvas', dialog)
const frame = find('.part', dialog)
const hint = find('.hint', dialog)

let part = { x: 0, y: 0, width: 1, height: 1 } // in pixels of the canvas
let replaced = ''

const clamp = (value, min, max) => Math.min(Math.max(value, min), max)

function place (rectangle) {
  const width = clamp(rectangle.width, MIN_SIZE, canvas.width)
  const height = clamp(rectangle.height, MIN_SIZE, canvas.height)
  part = {
    width,
    height,
    x: clamp(rectangle.x, 0, canvas.width - width),
    y: clamp(rectangle.y, 0, canvas.height - height)
  }
  for (const [side, value, whole] of [
    ['left', part.x, canvas.width], ['top', part.y, canvas.height],
    ['width', part.width, canvas.width], ['height', part.height, canvas.height]
  ]) frame.style[side] = `${100 * value / whole}%`
}

/** Open the dialog for the image of an embedding, as the address names it. */
export async function crop (embedding) {
  const source = storedImage(embedding)
  if (!source) return
  const image = new Image()
  image.src = source
  await image.decode()
  canvas.width = image.naturalWidth
  canvas.height = image.naturalHeight
  canvas.getContext('2d').drawImage(image, 0, 0)
  replaced = embedding
  const [width, height] = [canvas.width * 0.7, canvas.height * 0.7]
  place({ x: (canvas.width - width) / 2, y: (canvas.height - height) / 2, width, height })
  hint.textContent = 'Drag the frame or a corner. Arrow keys move it, Shift with arrow keys resizes it.'
  dialog.showModal()
  frame.focus()
}

// -- by mouse and touch

/** The part after a corner, or with '' the whole frame, has moved by dx and dy pixels. */
function moveCorner (start, corner, dx, dy) {
  if (!corner) return { ...start, x: start.x + dx, y: start.y + dy }
  const right = start.x + start.width
  const bottom = start.y + start.height
  const next = { ...start }
  if (corner.includes('w')) {
    next.x = clamp(start.x + dx, 0, right - MIN_SIZE)
    next.width = right - next.x
  } else next.width = clamp(start.width + dx, MIN_SIZE, canvas.width - start.x)
  if (corner.includes('n')) {
    next.y = clamp(start.y + dy, 0, bottom - MIN_SIZE)
    next.height = bottom - next.y
  } else next.height = clamp(start.height + dy, MIN_SIZE, canvas.height - start.y)
  return next
}

frame?.addEventListener('pointerdown', (event) => {
  if (event.button) return
  event.preventDefault()
  frame.focus()
  frame.setPointerCapture(event.pointerId)
  const start = { ...part }
  const corner = event.target.dataset.corner ?? ''
  const scale = canvas.width / canvas.getBoundingClientRect().width
  const follow = (now) => place(moveCorner(start, corner, (now.clientX - event.clientX) * scale, (now.clientY - event.clientY) * scale))
  frame.addEventListener('pointermove', follow)
  const stop = () => frame.removeEventListener('pointermove', follow)
  frame.addEventListener('lostpointercapture', stop, { once: true })
})

// -- by keyboard

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }

frame?.addEventListener('keydown', (event) => {
  if (event.key === 'Enter') return search()
  const arrow = ARROWS[event.key]
  if (!arrow) return
  event.preventDefault()
  event.stopPropagation()
  const step = STEP * Math.max(canvas.width, canvas.height)
  place(moveCorner(part, event.shiftKey ? 'se' : '', arrow[0] * step, arrow[1] * step))
})

// -- search

async function search () {
  const { x, y, width, height } = part
  const cut = document.createElement('canvas')
  cut.width = Math.round(width)
  cut.height = Math.round(height)
  cut.getContext('2d').drawImage(canvas, x, y, width, height, 0, 0, cut.width, cut.height)
  const blob = await new Promise((resolve) => cut.toBlob(resolve, 'image/jpeg', 0.92))
  dialog.close()
  const weight = replaced.includes(':') ? Number(replaced.split(':')[0]) : 1
  searchByFiles([new File([blob], 'part.jpg', { type: blob.type })], { addTerms: true, weight, replaces: replaced })
}

dialog?.addEventListener('click', ({ target }) => {
  const { do: action } = target.dataset
  if (action === 'search') search()
  if (action === 'cancel') dialog.close()
})
