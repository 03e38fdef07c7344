// Searching by pictures: chosen, pasted or dropped. They are sent once, to be turned
// into numbers, and stay in this tab, where alone their chips can show them.

import { find, findAll } from './dom.js'
import { isSearch } from './navigation.js'
import { toast } from './toast.js'

const KEPT_SIZE = 800
const UPLOAD_SIZE = 1600
const PENDING = 'pictures:pending'
const KEY = 'picture:'

const search = find('#search')
const form = find('#picture')
const input = find('#picture-file')
const MOST_PICTURES = Number(input.dataset.most)
const MOST_BYTES = Number(input.dataset.mostBytes)

// -- what this tab keeps

function keep (key, value) {
  try {
    sessionStorage.setItem(key, value)
  } catch {
    // Full: the oldest pictures go first. Forbidden: then chips go without.
    const kept = Object.keys(sessionStorage).filter((each) => each.startsWith(KEY))
    if (!kept.length) return
    sessionStorage.removeItem(kept[0])
    keep(key, value)
  }
}

function kept (key) {
  try {
    return sessionStorage.getItem(key)
  } catch {
    return null
  }
}

function forget (key) {
  try {
    sessionStorage.removeItem(key)
  } catch {
    // Nothing is kept where storage is forbidden.
  }
}

/** The picture of an embedding as a data URL, if it was brought in this tab. */
export const keptPicture = (embedding) => kept(KEY + embedding.split(':').pop())

// -- getting ready

async function scaled (file, size) {
  const picture = await createImageBitmap(file)
  const scale = Math.min(1, size / Math.max(picture.width, picture.height))
  const canvas = document.createElement('canvas')
  canvas.width = Math.max(1, Math.round(picture.width * scale))
  canvas.height = Math.max(1, Math.round(picture.height * scale))
  canvas.getContext('2d').drawImage(picture, 0, 0, canvas.width, canvas.height)
  picture.close()
  return canvas
}

/** Pictures the server would refuse for their size still show the same when smaller. */
async function shrunk (file) {
  const canvas = await scaled(file, UPLOAD_SIZE)
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.92))
  return new File([blob], 'picture.jpg', { type: blob.type })
}

async function prepared (file) {
  try {
    const preview = (await scaled(file, KEPT_SIZE)).toDataURL('image/jpeg', 0.85)
    return { preview, file: file.size > MOST_BYTES ? await shrunk(file) : file }
  } catch {
    // No picture, as far as this browser knows; the server has the last word.
    return { preview: '', file }
  }
}

function put (files) {
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

/** What the form of the search holds goes along, and its terms, too, if `beside`. */
function fill ({ beside = false, weight = 1, instead = '' }) {
  for (const field of findAll('[data-added]', form)) field.remove()
  const chosen = new FormData(search)
  for (const field of findAll('input[type=hidden]:not([name=csrfmiddlewaretoken])', form)) field.remove()
  const terms = ['q', 'item', 'embedding', 'concept']
  for (const [name, value] of chosen) {
    if (typeof value !== 'string' || (terms.includes(name) && !beside)) continue
    if (name === 'embedding' && value === instead) continue
    setHidden(name, value)
  }
  if (beside) setHidden('beside', 'yes')
  setHidden('weight', weight)
}

let taken = 0

/**
 * Searches by files: alone, or `beside` what is searched for, with a `weight`, or
 * `instead` of the embedding of another picture.
 */
export async function take (files, how = {}) {
  const pictures = [...files].filter((file) => file.type.startsWith('image/'))
  const chosen = (pictures.length ? pictures : [...files]).slice(0, MOST_PICTURES)
  if (!chosen.length) return
  if (pictures.length > MOST_PICTURES) toast({ text: `Only the first ${MOST_PICTURES} pictures are searched by.` })
  const number = ++taken
  forget(PENDING)
  const ready = await Promise.all(chosen.map(prepared))
  if (number !== taken) return // others came while these were made ready
  keep(PENDING, JSON.stringify(ready.map(({ preview }) => preview)))
  put(ready.map(({ file }) => file))
  fill(how)
  form.requestSubmit()
  // So that choosing the same file once more is a change again.
  if (window.htmx) input.value = ''
}

let next = {} // how the pictures that are chosen next are searched by

/** Lets one choose pictures that are added to the search. */
export function bringMore () {
  next = { beside: true }
  input.click()
}

input.addEventListener('change', () => {
  const how = next
  next = {}
  take(input.files, how)
})
input.addEventListener('cancel', () => { next = {} })

// Pasted into the box, a picture joins what is in it; anywhere else it stands alone.
document.addEventListener('paste', (event) => {
  const files = event.clipboardData?.files
  if (!files?.length) return
  event.preventDefault()
  take(files, { beside: event.target.id === 'q' && isSearch() })
})

/** A result that is dragged brings its picture as a file, too; that is not meant. */
export function bringsFile ({ dataTransfer }) {
  const types = dataTransfer?.types ?? []
  return types.includes('Files') && !types.some((type) => type.startsWith('application/x-laionweb'))
}

// -- showing

function show (chip, preview) {
  const before = chip.previousElementSibling
  if (before?.matches('img')) return
  chip.textContent = 'your picture'
  const image = new Image(32, 32)
  image.src = preview
  image.alt = ''
  chip.before(image)
  const button = find('.crop', chip.closest('.chip'))
  if (button) button.hidden = false
}

export function showPreviews () {
  const chips = findAll('.chip [data-picture]')
  const pending = JSON.parse(kept(PENDING) ?? '[]')
  forget(PENDING)
  // Those that were brought last stand last.
  pending.reverse().forEach((preview, place) => {
    const chip = chips.at(-1 - place)
    if (chip && preview) keep(KEY + chip.dataset.picture, preview)
  })
  for (const chip of chips) {
    const preview = keptPicture(chip.dataset.picture)
    if (preview) show(chip, preview)
  }
}

// The history keeps pages in little room: what is shown from this tab is shown anew.
document.addEventListener('htmx:beforeHistorySave', () => {
  for (const image of findAll('.chip img[src^="data:"]')) image.remove()
})
