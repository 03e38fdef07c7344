// Loads thumbnails again that the server is still fetching. Only those that it has given
// up are an error to other modules.

import { findAll } from './dom.js'

const MAX_TRIES = 5
const MAX_WAIT_S = 30
const RETRIED = [429, 503]
const tries = new WeakMap()

const isThumbnail = (image) => new URL(image.currentSrc || image.src, location).pathname.startsWith('/t/')

/** The seconds to wait before another try; null if none would help. */
async function retryAfter (source) {
  try {
    const answer = await fetch(source, { method: 'HEAD' })
    if (answer.ok) return 0
    if (!RETRIED.includes(answer.status)) return null
    return Math.min(Number(answer.headers.get('Retry-After')) || 1, MAX_WAIT_S)
  } catch {
    return null
  }
}

function load (image) {
  if (image.srcset) image.srcset += ''
  else image.src += ''
}

async function retry (image) {
  const source = image.currentSrc
  const count = (tries.get(image) ?? 0) + 1
  tries.set(image, count)
  const seconds = count <= MAX_TRIES ? await retryAfter(source) : null
  if (image.currentSrc !== source) return
  if (seconds === null) image.dispatchEvent(new Event('error'))
  else setTimeout(load, seconds * 1000, image)
}

document.addEventListener('error', (event) => {
  const image = event.target
  if (!event.isTrusted || !(image instanceof HTMLImageElement) || !isThumbnail(image)) return
  event.stopImmediatePropagation()
  retry(image)
}, true)

// Load images again that failed before this script listened.
for (const image of findAll('img')) {
  if (image.complete && image.currentSrc && !image.naturalWidth && isThumbnail(image)) load(image)
}
