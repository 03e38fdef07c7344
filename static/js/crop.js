// Searching by areas of an image: frames, drawn, moved and resized by mouse, touch and
// keys. Loaded when the dialog is opened.

import { find, findAll } from './dom.js'
import { areaOf, searchByFiles, storedImage } from './query_images.js'

const MIN_SIZE = 24 // pixels of the image, for each side of a frame
const STEP = 0.02 // of the image's longer side, per key press
const FIRST_SHARE = 0.7 // of each side, that the first frame takes

const dialog = find('#crop')
const canvas = find('canvas', dialog)
const stage = find('.stage', dialog)
const MAX_FRAMES = Number(find('#picture-file').dataset.max)

let frames = [] // elements, each with its part of the image in pixels of the canvas
let active = null
let isUntouched = true // the frame that was there at first
let source = '' // of the image: an address, or an embedding with a stored image
let replaced = '' // the embedding whose term the areas replace, as the address names it
let begin = null // called before the search, with a function that makes it

const clamp = (value, min, max) => Math.min(Math.max(value, min), max)

// -- frames

function place (frame, rectangle) {
  const width = clamp(rectangle.width, MIN_SIZE, canvas.width)
  const height = clamp(rectangle.height, MIN_SIZE, canvas.height)
  const part = {
    width,
    height,
    x: clamp(rectangle.x, 0, canvas.width - width),
    y: clamp(rectangle.y, 0, canvas.height - height)
  }
  frame.rectangle = part
  for (const [side, value, whole] of [
    ['left', part.x, canvas.width], ['top', part.y, canvas.height],
    ['width', part.width, canvas.width], ['height', part.height, canvas.height]
  ]) frame.style[side] = `${100 * value / whole}%`
}

function middle () {
  const [width, height] = [canvas.width * FIRST_SHARE, canvas.height * FIRST_SHARE]
  return { x: (canvas.width - width) / 2, y: (canvas.height - height) / 2, width, height }
}

function add (rectangle) {
  const frame = find('template', dialog).content.firstElementChild.cloneNode(true)
  stage.append(frame)
  frames.push(frame)
  place(frame, rectangle)
  activate(frame)
  return frame
}

function remove (frame) {
  frame.remove()
  frames = frames.filter((each) => each !== frame)
  activate(frames.at(-1))
  active?.focus()
}

function activate (frame) {
  active = frame
  frames.forEach((each, index) => {
    each.classList.toggle('active', each === frame)
    each.ariaLabel = `Area ${index + 1} to search: arrow keys move it, Shift with arrow keys resizes it`
  })
  const several = frames.length > 1
  stage.classList.toggle('several', several)
  find('[data-do=remove]', dialog).hidden = !several
  find('[data-do=add]', dialog).disabled = frames.length >= MAX_FRAMES
  find('[data-do=search]', dialog).textContent = several ? `Search these ${frames.length} areas` : 'Search this area'
}

// -- open

async function show (address, rectangles) {
  const image = new Image()
  image.src = address
  await image.decode()
  canvas.width = image.naturalWidth
  canvas.height = image.naturalHeight
  canvas.getContext('2d').drawImage(image, 0, 0)
  for (const frame of frames) frame.remove()
  frames = []
  isUntouched = !rectangles.length
  for (const { x, y, width, height } of rectangles) {
    add({ x: x * canvas.width, y: y * canvas.height, width: width * canvas.width, height: height * canvas.height })
  }
  if (!rectangles.length) add(middle())
  find('.hint', dialog).textContent = 'Draw a frame on the image, or drag this one or its corners. Arrow keys move it, Shift with arrow keys resizes it.'
  dialog.showModal()
  active.focus()
}

/** Open the dialog for the image of an embedding, as the address names it. */
export async function crop (embedding) {
  const area = areaOf(embedding)
  source = area?.source ?? embedding.split(':').pop()
  replaced = embedding
  begin = (search) => search()
  const address = source.startsWith('/') ? source : storedImage(source)
  if (address) await show(address, area ? [area] : [])
}

/**
 * Open it for an image of this site. `start` is called with a function that makes the
 * search, to call once the page can show its results.
 */
export async function cropItem (address, start) {
  source = address
  replaced = ''
  begin = start
  await show(address, [])
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

/** Follow the pointer until it is released; `follow` gets the pixels of the canvas. */
function drag (event, follow, finish = () => {}) {
  event.preventDefault()
  stage.setPointerCapture(event.pointerId)
  const scale = canvas.width / canvas.getBoundingClientRect().width
  const move = (now) => follow((now.clientX - event.clientX) * scale, (now.clientY - event.clientY) * scale)
  stage.addEventListener('pointermove', move)
  stage.addEventListener('lostpointercapture', () => {
    stage.removeEventListener('pointermove', move)
    finish()
  }, { once: true })
}

stage.addEventListener('pointerdown', (event) => {
  if (event.button) return
  const frame = event.target.closest('.part')
  if (!frame) return draw(event)
  activate(frame)
  frame.focus()
  isUntouched = false
  const start = { ...frame.rectangle }
  const corner = event.target.dataset.corner ?? ''
  drag(event, (dx, dy) => place(frame, moveCorner(start, corner, dx, dy)))
})

/** Draw a frame; the one that was there at first makes room for it. */
function draw (event) {
  const box = canvas.getBoundingClientRect()
  const scale = canvas.width / box.width
  const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale]
  let frame = null
  drag(event, (dx, dy) => {
    if (!frame) {
      if (Math.hypot(dx, dy) < MIN_SIZE / 2) return
      const first = isUntouched ? frames[0] : null
      isUntouched = false
      if (!first && frames.length >= MAX_FRAMES) return
      frame = add({ x, y, width: MIN_SIZE, height: MIN_SIZE })
      if (first) remove(first)
    }
    place(frame, { x: Math.min(x, x + dx), y: Math.min(y, y + dy), width: Math.abs(dx), height: Math.abs(dy) })
  }, () => frame?.focus())
}

// -- by keyboard

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }

stage.addEventListener('focusin', ({ target }) => {
  if (target.matches('.part')) activate(target)
})

stage.addEventListener('keydown', (event) => {
  const frame = event.target.closest('.part')
  if (!frame) return
  if (event.key === 'Enter') return search()
  if (event.key === 'Delete' && frames.length > 1) return remove(frame)
  const arrow = ARROWS[event.key]
  if (!arrow) return
  event.preventDefault()
  event.stopPropagation()
  isUntouched = false
  const step = STEP * Math.max(canvas.width, canvas.height)
  place(frame, moveCorner(frame.rectangle, event.shiftKey ? 'se' : '', arrow[0] * step, arrow[1] * step))
})

// -- search

async function cut ({ x, y, width, height }) {
  const piece = document.createElement('canvas')
  piece.width = Math.round(width)
  piece.height = Math.round(height)
  piece.getContext('2d').drawImage(canvas, x, y, width, height, 0, 0, piece.width, piece.height)
  const blob = await new Promise((resolve) => piece.toBlob(resolve, 'image/jpeg', 0.92))
  return new File([blob], 'part.jpg', { type: blob.type })
}

async function search () {
  const parts = frames.map(({ rectangle }) => rectangle)
  const files = await Promise.all(parts.map(cut))
  const areas = parts.map(({ x, y, width, height }) => ({
    source, x: x / canvas.width, y: y / canvas.height, width: width / canvas.width, height: height / canvas.height
  }))
  const weight = replaced.includes(':') ? Number(replaced.split(':')[0]) : 1
  const options = { addTerms: Boolean(replaced), weight, replaces: replaced, areas }
  dialog.close()
  begin(() => searchByFiles(files, options))
}

const ACTIONS = {
  search,
  cancel: () => dialog.close(),
  add: () => {
    isUntouched = false
    add(middle()).focus()
  },
  remove: () => remove(active)
}

dialog.addEventListener('click', ({ target }) => ACTIONS[target.dataset.do]?.())
