// Pictures in a grid, on whatever page: those that are gone, and more of them.

import { findAll, heed } from './dom.js'

const AHEAD = '900px' // how far before its end the next page is fetched

// -- pictures that are gone

function markBroken (image) {
  image.closest('.picture')?.classList.add('broken')
}

// Errors of images do not bubble, but they can be caught on their way down.
document.addEventListener('error', (event) => {
  if (event.target instanceof HTMLImageElement) markBroken(event.target)
}, true)

function markAlreadyBroken () {
  for (const image of findAll('.picture img')) {
    if (image.complete && image.currentSrc && !image.naturalWidth) markBroken(image)
  }
}

// -- more of them

const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting) window.htmx?.trigger(target, 'near')
  }
}, { rootMargin: AHEAD })

function arrange () {
  markAlreadyBroken()
  near.disconnect()
  for (const link of findAll('.more > a')) near.observe(link)
}

heed('settled', arrange)
arrange()
