// Searching by images: chosen, pasted or dropped. The server embeds them and does not
// keep them; small copies stay in this tab's storage, for the chips.

import { find, findAll } from './dom.js'
import { begin, hasTerms } from './navigation.js'
import { parse, session } from './storage.js'
import { toast } from './toast.js'

const STORED_SIZE = 800 // pixels of the longer side
const UPLOAD_SIZE = 1600
const PENDING_KEY = 'pictures:pending' // images of a request that is under way
const IMAGE_KEY = 'picture:' // followed by an embedding
const AREA_KEY = 'area:' // the same: where in which image that embedding's image was cut

const search = find('#search')
const form = find('#picture')
const input = find('#picture-file')
const MAX_IMAGES = Number(input.dataset.max)
const MAX_BYTES = Number(input.dataset.maxBytes)

// -- storage

/** Store a value, in place of other images where there is no room. */
function store (key, value) {
  while (!session.set(key, value)) {
    const [other] = session.keys(IMAGE_KEY)
    if (!other) return
    session.remove(other)
  }
}

/** The image behind an embedding as a data URL; null if another tab sent it. */
export const storedImage = (embedding) => session.get(IMAGE_KEY + embedding.split(':').pop())

/** What the image behind an embedding was cut from: its source, and shares of its sides. */
export const areaOf = (embedding) => parse(session.get(AREA_KEY + embedding.split(':').pop()))

// -- preparation

async function scaled (file, size) {
  const image = await createImageBitmap(file)
  const scale = Math.min(1, size / Math.max(image.width, image.height))
  const canvas = document.createElement('canvas')
  canvas.width = Math.max(1, Math.round(image.width * scale))
  canvas.height = Math.max(1, Math.round(image.height * scale))
  canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height)
  image.close()
  return canvas
}

/** A smaller copy of an image whose file is too large for the server. */
async function shrunk (file) {
  const canvas = await scaled(file, UPLOAD_SIZE)
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.92))
  return new File([blob], 'picture.jpg', { type: blob.type })
}

async function prepare (file) {
  try {
    const preview = (await scaled(file, STORED_SIZE)).toDataURL('image/jpeg', 0.85)
    return { preview, file: file.size > MAX_BYTES ? await shrunk(file) : file }
  } catch {
    // This browser cannot decode the file; the server may.
    return { preview: '', file }
  }
}

function setFiles (files) {
  const chosen = new DataTransfer()
  for (const file of files) chosen.items.add(file)
  input.files = chosen.files
}

// -- sending

function setHidden (name, value) {
  const field = document.createElement('input')
  Object.assign(field, { type: 'hidden', name, value })
  field.dataset.added = ''
  form.append(field)
}

/**
 * Copy the fields of the search form, and with `addTerms` its terms, to this form. Return
 * the place of the term that is replaced among the images, or -1.
 */
function fill ({ addTerms = false, weight = 1, replaces = '' }) {
  for (const field of findAll('[data-added]', form)) field.remove()
  const chosen = new FormData(search)
  for (const field of findAll('input[type=hidden]:not([name=csrfmiddlewaretoken])', form)) field.remove()
  const terms = ['q', 'item', 'embedding', 'concept']
  for (const [name, value] of chosen) {
    if (typeof value !== 'string' || (terms.includes(name) && !addTerms)) continue
    if (name === 'embedding' && value === replaces) continue // its place stays
    setHidden(name, value)
  }
  if (addTerms) setHidden('beside', 'yes')
  const place = chosen.getAll('embedding').indexOf(replaces)
  if (place >= 0) setHidden('place', place)
  setHidden('weight', weight)
  return place
}

/**
 * Search by files: alone, or with `addTerms` together with the terms of the current
 * search; with a `weight`; in place of the embedding that it `replaces`. `areas` say what
 * they were cut from.
 */
export async function searchByFiles (files, options = {}) {
  const images = [...files].filter((file) => file.type.startsWith('image/'))
  const chosen = (images.length ? images : [...files]).slice(0, MAX_IMAGES)
  if (!chosen.length) return
  if (images.length > MAX_IMAGES) toast({ text: `Only the first ${MAX_IMAGES} images are used.` })
  const isLatest = begin()
  session.remove(PENDING_KEY)
  const ready = await Promise.all(chosen.map(prepare))
  if (!isLatest()) return // other files have come meanwhile, or another search
  const place = fill(options)
  const previews = ready.map(({ preview }) => preview)
  store(PENDING_KEY, JSON.stringify({ place, previews, areas: options.areas ?? [] }))
  setFiles(ready.map(({ file }) => file))
  form.requestSubmit()
  // Otherwise choosing the same file again would not be a change.
  if (window.htmx) input.value = ''
}

let nextOptions = {} // for the files that the open file dialog returns

/** Let the user choose images to add to the search. */
export function addImages () {
  nextOptions = { addTerms: true }
  input.click()
}

input.addEventListener('change', () => {
  const options = nextOptions
  nextOptions = {}
  searchByFiles(input.files, options)
})
input.addEventListener('cancel', () => { nextOptions = {} })

// Pasted into the box, an image is added to the search; elsewhere it is searched alone.
document.addEventListener('paste', (event) => {
  const files = event.clipboardData?.files
  if (!files?.length) return
  event.preventDefault()
  searchByFiles(files, { addTerms: event.target.id === 'q' && hasTerms() })
})

/** Whether files are dragged; browsers add the image of a dragged result as a file. */
export function bringsFile ({ dataTransfer }) {
  const types = dataTransfer?.types ?? []
  return types.includes('Files') && !types.some((type) => type.startsWith('application/x-laionweb'))
}

// -- images on the chips

function show (chip, preview) {
  const before = chip.previousElementSibling
  if (before?.matches('img')) return
  chip.textContent = 'your image'
  const image = new Image(32, 32)
  image.src = preview
  image.alt = ''
  chip.before(image)
  const button = find('.crop', chip.closest('.chip'))
  if (button) button.hidden = false
}

export function showPreviews () {
  const chips = findAll('.chip [data-picture]')
  const { place, previews, areas } = parse(session.take(PENDING_KEY)) ?? { previews: [] }
  // The images sent last are the last terms, unless they replace one.
  const first = place >= 0 ? place : chips.length - previews.length
  previews.forEach((preview, number) => {
    const chip = chips[first + number]
    if (!chip || !preview) return
    store(IMAGE_KEY + chip.dataset.picture, preview)
    if (areas[number]) store(AREA_KEY + chip.dataset.picture, JSON.stringify(areas[number]))
  })
  for (const chip of chips) {
    const preview = storedImage(chip.dataset.picture)
    if (preview) show(chip, preview)
  }
}

// htmx stores pages in little room; showPreviews adds these images again.
document.addEventListener('htmx:beforeHistorySave', () => {
  for (const image of findAll('.chip img[src^="data:"]')) image.remove()
})
