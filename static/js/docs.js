// The pages about the API: all examples in the language that was chosen last, and what
// is folded.

import { find, findAll } from './dom.js'

const KEPT = 'docs:language'
const radios = findAll('.example input[type=radio]')

function remembered () {
  try {
    return localStorage.getItem(KEPT)
  } catch {
    return null // this browser keeps nothing
  }
}

function choose (language) {
  for (const radio of radios) {
    if (radio.value === language) radio.checked = true
  }
}

document.addEventListener('change', ({ target }) => {
  if (!radios.includes(target)) return
  // Examples above change their height; the one that was clicked stays where it is.
  const before = target.getBoundingClientRect().top
  choose(target.value)
  scrollBy({ top: target.getBoundingClientRect().top - before, behavior: 'instant' })
  try {
    localStorage.setItem(KEPT, target.value)
  } catch {
    // Then it is chosen again at the next visit.
  }
})

if (remembered()) choose(remembered())

// What a link leads to may lie in something folded.
function unfold () {
  const there = document.getElementById(decodeURIComponent(location.hash.slice(1)))
  const folded = there?.closest('details')
  if (!folded) return
  folded.open = true
  folded.scrollIntoView()
}

addEventListener('hashchange', unfold)
unfold()

// Above the text the list of what is there takes much room; beside it there is some.
const narrow = matchMedia('(max-width: 1120px)')
const fit = () => { find('.contents details').open = !narrow.matches }

narrow.addEventListener('change', fit)
fit()
