// Small pictures that the server is still fetching: asked for again when it says so.
// Only those that it has given up are an error to other scripts.

import { findAll } from './dom.js'

const MOST_TRIES = 5
const LONGEST_S = 30
const LATER = [429, 503]
const tries = new WeakMap()

const isThumbnail = (image) => new URL(image.currentSrc || image.src, location).pathname.startsWith('/t/')

/** In how many seconds to ask again; null if that would not help. */
async function patience (source) {
  try {
    const answer = await fetch(source, { method: 'HEAD' })
    if (answer.ok) return 0
    if (!LATER.includes(answer.status)) return null
    return Math.min(Number(answer.headers.get('Retry-After')) || 1, LONGEST_S)
  } catch {
    return null
  }
}

function load (image) {
  if (image.srcset) image.srcset += ''
  else image.src += ''
}

async function askAgain (image) {
  const source = image.currentSrc
  const count = (tries.get(image) ?? 0) + 1
  tries.set(image, count)
  const seconds = count <= MOST_TRIES ? await patience(source) : null
  if (image.currentSrc !== source) return
  if (seconds === null) image.dispatchEvent(new Event('error'))
  else setTimeout(load, seconds * 1000, image)
}

document.addEventListener('error', (event) => {
  const image = event.target
  if (!event.isTrusted || !(image instanceof HTMLImageElement) || !isThumbnail(image)) return
  event.stopImmediatePropagation()
  askAgain(image)
}, true)

// What failed before this script was there fails once more, and is heard.
for (const image of findAll('img')) {
  if (image.complete && image.currentSrc && !image.naturalWidth && isThumbnail(image)) load(image)
}
