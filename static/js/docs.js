// The pages about the API: examples in the language that was chosen last, and folds.

import { find, findAll } from './dom.js'
import { local } from './storage.js'

const LANGUAGE_KEY = 'docs:language'
const radios = findAll('.example input[type=radio]')

function choose (language) {
  for (const radio of radios) {
    if (radio.value === language) radio.checked = true
  }
}

document.addEventListener('change', ({ target }) => {
  if (!radios.includes(target)) return
  // Examples above change their height; scroll so that the one clicked does not move.
  const before = target.getBoundingClientRect().top
  choose(target.value)
  scrollBy({ top: target.getBoundingClientRect().top - before, behavior: 'instant' })
  local.set(LANGUAGE_KEY, target.value)
})

choose(local.get(LANGUAGE_KEY))

/** Open the fold around the element that the address links to. */
function unfold () {
  const linked = document.getElementById(decodeURIComponent(location.hash.slice(1)))
  const fold = linked?.closest('details')
  if (!fold) return
  fold.open = true
  fold.scrollIntoView()
}

addEventListener('hashchange', unfold)
unfold()

// The table of contents is folded where it stands above the text, not where it is beside.
const narrow = matchMedia('(max-width: 1120px)')
const fit = () => { find('.contents details').open = !narrow.matches }

narrow.addEventListener('change', fit)
fit()
